"""SEARCH_KINDS: how the answers of each adaptive search are worded."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SearchKind:
    """How the answers of one search are worded. `title` and `best` may hold the knob's name in braces."""

    title: str
    best: str  # of a sentence: method, this, value
    is_value: bool  # the answer is a value of the knob, not a loss
    definition: str


SEARCH_KINDS: dict[str, SearchKind] = {
    "edge": SearchKind(
        title="Largest stable {knob}",
        best="is stable up to the largest {knob}",
        is_value=True,
        definition="value of {knob} above which half of the seeds are no longer stable, by bisection for each seed; a "
        "seed is stable at a value if it did not diverge and its loss keeps at least half of what the least mean loss "
        "learns from the mean loss at init. Brackets: 95% interval",
    ),
    "sensitivity": SearchKind(
        title="LR sensitivity",
        best="has the lowest LR sensitivity",
        is_value=False,
        definition="the score lr_sensitivity of the whole grid, from the trials that tell most of it; the rest of the "
        "grid is completed by a model of the curves. Brackets: 95% interval over seeds and over what is not trained",
    ),
    "tune": SearchKind(
        title="Least loss",
        best="reaches the least loss",
        is_value=False,
        definition="least mean of the final loss over seeds at one value of {knob}, of the values that the budget paid "
        "for. Brackets: 95% interval over seeds. Trials to target: after which the leading value stayed near the final "
        "best",
    ),
    "tune_box": SearchKind(
        title="Least loss",
        best="reaches the least loss",
        is_value=False,
        definition="least mean over seeds of the final loss, at most the loss at init, of the settings of {knob} that "
        "the budget paid for. Brackets: 95% interval over seeds; it is the least of many, so that other seeds of the "
        "same setting are expected above it. Trials to target: after which one was near the "
        "final best",
    ),
}


def search_kind(search: str) -> SearchKind:
    """Of the search of this name. Raises UsageError where there is none."""
    if search not in SEARCH_KINDS:
        raise UsageError(f"no page for the search {search!r}; there are {', '.join(SEARCH_KINDS)}")
    return SEARCH_KINDS[search]
