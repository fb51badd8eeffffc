"""The settings of a box as recorded studies, one a method."""

from __future__ import annotations

from analysis.curves import label_of
from analysis.scores.box.numbers import mean_losses
from analysis.subject import BoxSubject
from bench.lazy import numpy as np
from bench.search.storage import RecordedSetting, RecordedStudy


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
        losses, loss_MN = box.losses, mean_losses(box.losses.losses_MNS)
        for m, method in enumerate(losses.methods):
            key = (losses.workload, method, losses.optimizer, losses.knobs)
            attributes = dict(zip(("workload", "method", "optimizer", "knobs"), key, strict=True))
            settings = [
                RecordedSetting(
                    values=values[place],
                    loss=float(loss_MN[m, place]),
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
