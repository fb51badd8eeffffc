"""How settings were searched for, by whose sampler, and by whose rule they ended early, as a paragraph says it."""

from __future__ import annotations

from collections.abc import Callable

from analysis.paper.bibliography import keys_of
from analysis.paper.prose import Cite, Text, listed_seeds
from analysis.report.search_kinds import PRUNERS, SAMPLERS, search_kind
from analysis.subject import SearchSubject
from analysis.text import counted

_OPTUNA: Text = ["Optuna", Cite(keys=keys_of("program", "optuna"))]


def searches_text(subject: SearchSubject) -> Text:
    """What was searched, how, within which budget, what ended settings early, and what the answers are.

    It cites what the search used alone. Raises KeyError for a search that there is not.
    """
    name, knob = str(subject.search["name"]), subject.answers["knob"][0]
    kind = search_kind(name)
    title, definition = (text.format(knob=knob) for text in (kind.title, kind.definition))
    return [
        f"For each method we searched {subject.space} within {subject.search['budget']:,} trials. ",
        *HOW[name](subject),
        *_pruned(subject),
        f"The {title[0].lower()}{title[1:]} is the {definition}. ",
    ]


def _edge(subject: SearchSubject) -> Text:
    return [
        "First one value a decade was trained with the first seed; then every round halved, for each seed, the bracket "
        "of its edge, at the median of where it may be given all seeds, until half of the interval was at most "
        f"{subject.search['width']:g} decades, or every bracket as narrow. Edges of seeds are taken to be logistic in "
        "the logarithm, each known to lie in its bracket; the interval is of the posterior of their median under the "
        "prior that is flat in location and log scale",
        Cite(keys=keys_of("statistic", "edges_of_seeds")),
        ". ",
    ]


def _sensitivity(subject: SearchSubject) -> Text:
    return [
        "First one value a decade was trained, seeds in turn; then every round asked for the "
        f"{subject.search['batch']} trials of the grid that tell most of the score lr_sensitivity",
        Cite(keys=keys_of("score", "lr_sensitivity")),
        f", until 2.58 standard deviations of what was not trained were at most {subject.search['tolerance']:g}. "
        "The standard error over seeds is by the delete-one-seed jackknife",
        Cite(keys=keys_of("statistic", "jackknife")),
        ", or that of the scores of single seeds where it is wider. ",
    ]


def _tune(subject: SearchSubject) -> Text:
    return [
        "First one value a decade was trained with the first seed, then "
        f"{counted(subject.search['batch'], 'value')} a round that ",
        *_OPTUNA,
        " asked for by a tree-structured Parzen estimator",
        Cite(keys=keys_of("sampler", "tpe")),
        ", until half of the budget was spent; then those near the best got further seeds. ",
    ]


def _tune_box(subject: SearchSubject) -> Text:
    search, num_seeds = subject.search, subject.results["seed"].n_unique()
    num_settings, name = search["budget"] // num_seeds, str(search["sampler"])
    first: Text = [
        f"Each setting was trained with every seed. The first {min(search['startup'], num_settings)} settings were the "
        "first points of Sobol's sequence, scrambled, the same for every method",
        Cite(keys=keys_of("design", "qmc")),
    ]
    if search["startup"] >= num_settings:
        return [*first, ". "]
    return [
        *first,
        f"; then {counted(search['batch'], 'setting')} a round were asked for by ",
        *_OPTUNA,
        f": by {SAMPLERS[name].words}",
        Cite(keys=keys_of("sampler", name)),
        ". A diverged seed counted as its loss at init. ",
    ]


HOW: dict[str, Callable[[SearchSubject], Text]] = {
    "edge": _edge,
    "sensitivity": _sensitivity,
    "tune": _tune,
    "tune_box": _tune_box,
}


def _pruned(subject: SearchSubject) -> Text:
    """By whose rule settings ended early, and when it looked; nothing where none did."""
    if not subject.rules:
        return []
    rule = subject.rules[0]
    name, looks = rule.worse_than, sorted({rung for one in subject.rules for rung in one.rungs})
    return [
        f"Settings ended early by {PRUNERS[name].words}",
        Cite(keys=keys_of("pruner", name)),
        ", as ",
        *_OPTUNA,
        f" has it, which looked after {', '.join(f'{step:,}' for step in looks)} steps and compared them with those of "
        f"earlier rounds, once {rule.startup} of them were trained to the end. ",
    ]


def trained_text(subject: SearchSubject, outcomes: str) -> str:
    """Which seeds there were, and how many trials ended how. outcomes: that in words."""
    return (
        f"We used {listed_seeds(subject.results['seed'])}, which decide the initial weights and the data: {outcomes}. "
    )
