"""The settings of a box, or of searches, as recorded studies, one a method."""

from __future__ import annotations

import math

from analysis.curves import label_of
from analysis.scores.box.knobs import BoxKnob
from analysis.scores.robustness import mean_of_present
from analysis.subject import BoxSubject
from bench.lazy import numpy as np
from bench.results.box import box_knobs
from bench.results.standings import Group, Rows, Standing, groups, stand
from bench.search.base import KnobSearch
from bench.search.samplers import num_objectives
from bench.search.storage import RecordedSetting, RecordedStudy
from bench.search.tune_box import TuneBox
from bench.suite import Suite

_NAMED = ("workload", "method", "optimizer")


def recorded_studies(subject: BoxSubject) -> list[RecordedStudy]:
    """A study for each method of each workload, optimizer and knobs, of the settings that have a loss.

    The loss is the mean over seeds, a diverged seed counting as its loss at init. Settings know their number and
    replicate in the design, the ids of their trials, and how many diverged.
    """
    names = [knob.name for knob in subject.knobs]
    values = subject.points.select(names).to_dicts()
    replicates = subject.points["replicate"].to_list()
    ids = subject.trials.group_by("workload", "method", "optimizer", "knobs", "point").agg("trial_id")
    by_point = {tuple(key): of for *key, of in ids.iter_rows()}
    studies = []
    for box in subject.boxes:
        losses, loss_MN = box.losses, mean_of_present(box.losses.losses_MNS)
        for m, method in enumerate(losses.methods):
            key = (losses.workload, method, losses.optimizer, losses.knobs)
            attributes = dict(zip(("workload", "method", "optimizer", "knobs"), key, strict=True))
            settings = [
                RecordedSetting(
                    values=values[place],
                    losses=(float(loss_MN[m, place]),),
                    attributes={
                        "point": point,
                        "replicate": replicates[place],
                        "trial_ids": by_point[(*key, point)],
                        "num_diverged": int(losses.diverged_MNS[m, place].sum()),
                    },
                )
                for place, point in enumerate(losses.points)
                if np.isfinite(loss_MN[m, place])
            ]
            attributes |= {"suite": subject.name, "loss": subject.loss, "seeds": list(losses.seeds)}
            studies.append(
                RecordedStudy(
                    name=f"{subject.name}: {label_of(key)}",
                    knobs=subject.knobs,
                    settings=settings,
                    attributes=attributes,
                )
            )
    return studies


def searched_studies(suite: Suite, rows: Rows) -> list[RecordedStudy]:
    """A study for each search of a suite that has begun with these results, of its settings in the order of asking.

    The loss is the mean over seeds of the lesser of final loss and loss at init, which a diverged seed counts as.
    Settings know their round, the ids of their trials and how many diverged; those that a rule pruned are pruned there.
    Of a sampler with two objectives the loss of the worst seed is the other, and a setting that lacks a seed failed.
    """
    assert suite.search is not None
    searches = [(group, stand(group, rows)) for group in groups(suite)]
    return [
        RecordedStudy(
            name=f"{suite.name}: {label_of((*_names(group), group.knobs))}",
            knobs=_searched_knobs(suite, group),
            settings=_searched_settings(suite, group, standing),
            attributes={
                **dict(zip(_NAMED, _names(group), strict=True)),
                **{"knobs": group.knobs, "suite": suite.name, "search": group.name, "seeds": list(suite.seeds)},
            },
            objectives=_objectives(group),
        )
        for group, standing in searches
        if standing.points
    ]


def _names(group: Group) -> tuple[str, ...]:
    return tuple(group.labels[kind] for kind in _NAMED)


def _searched_knobs(suite: Suite, group: Group) -> tuple[BoxKnob, ...]:
    if suite.box is not None:
        return box_knobs(suite)
    assert isinstance(group.search, KnobSearch), "what moves no box moves a knob"
    return (BoxKnob(name=group.knob, form="log", ends=(group.search.low, group.search.high)),)


def _objectives(group: Group) -> tuple[str, ...]:
    num = num_objectives(group.search.sampler) if isinstance(group.search, TuneBox) else 1
    return ("loss",) if num == 1 else ("mean loss", "loss of the worst seed")


def _searched_settings(suite: Suite, group: Group, standing: Standing) -> list[RecordedSetting]:
    points = {(point.value, point.seed): point for point in standing.points if not point.is_lost}
    knobs, num, settings = _searched_knobs(suite, group), len(_objectives(group)), []
    for number, ask in enumerate(standing.rounds, start=1):
        for value in dict.fromkeys(value for value, _ in ask.settings):
            there = [points[value, seed] for one, seed in ask.settings if one == value and (value, seed) in points]
            if not there:
                continue
            values = group.values(value)
            of_knobs = {
                knob.name: str(values[knob.name]) if knob.is_choice and knob.name in values else values.get(knob.name)
                for knob in knobs
            }
            attributes = {
                "round": number,
                "trial_ids": [group.trial((value, point.seed)).id for point in there],
                "num_diverged": sum(point.final_loss == np.inf for point in there),
            }
            of_seeds = [min(point.final_loss, point.initial_loss) for point in there]
            losses = (float(np.mean(of_seeds)), max(of_seeds))[:num]
            if num > 1 and len(there) < len(group.search.seeds):
                losses = (math.nan,) * num  # as the sampler was told
            step = max((point.pruned_step for point in there if point.pruned_step is not None), default=None)
            settings.append(RecordedSetting(values=of_knobs, losses=losses, attributes=attributes, pruned_step=step))
    return settings
