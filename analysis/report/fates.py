"""What became of the entries of a leaderboard that have no score, or of which every trial diverged, in words."""

from __future__ import annotations

from collections import Counter

import polars as pl

from analysis.curves import ENTRY, one_a_point, with_knobs
from analysis.report.summary import listed, names_of
from analysis.text import counted
from bench.outcome import Outcome

_IN_WORDS = {
    Outcome.CRASHED.value: "crashed",
    Outcome.OUT_OF_MEMORY.value: "ran out of memory",
    Outcome.TIMED_OUT.value: "timed out",
    Outcome.ABORTED.value: "aborted on a warning",
    Outcome.PRUNED.value: "pruned",
}


def fates(results: pl.DataFrame, board: pl.DataFrame) -> list[str]:
    """Sentences that say when and why entries of the board came to nothing; those of one fate share a sentence.

    Of the entries without a score, and of those whose every trial diverged. `results` has RESULT_COLUMNS, and the loss
    that was chosen, which `board` is the leaderboard of. Workloads are named if there are several.
    """
    is_hopeless = pl.col("lr_sensitivity").is_null() | (pl.col("diverged_share") == 1)
    if not board.select(is_hopeless.any()).item():
        return []
    trials = one_a_point(with_knobs(results), [*ENTRY, "lr", "seed"])
    sentences = []
    for part in board.partition_by("workload", maintain_order=True):
        names = dict(zip(part.select(ENTRY).iter_rows(), names_of(part), strict=True))
        of_fate: dict[str, list[str]] = {}
        for key in part.filter(is_hopeless).select(ENTRY).iter_rows():
            of_entry = trials.filter(pl.col(name) == value for name, value in zip(ENTRY, key, strict=True))
            of_fate.setdefault(_fate(of_entry), []).append(names[key])
        where = f"On {part['workload'][0]}: " if board["workload"].n_unique() > 1 else ""
        sentences += [f"{where}{listed(alike)}: {fate}." for fate, alike in of_fate.items()]
    return sentences


def _fate(trials: pl.DataFrame) -> str:
    """How the trials of one entry ended, and why it has no score where it has none."""
    finished = trials.filter(pl.col("final_loss").is_not_null())
    if finished.is_empty():
        ends = Counter(_IN_WORDS[outcome] for outcome in trials["outcome"] if outcome in _IN_WORDS)
        all_trials = counted(trials.height, "trial", "1")
        ended = [f"{count} of {all_trials} {words}" for words, count in sorted(ends.items())]
        return f"{' and '.join(ended) or f'{all_trials} without a final loss'}, so there is no score"
    diverged = finished.filter(pl.col("final_loss").is_infinite())
    sentence = f"{diverged.height} of {counted(finished.height, 'trial', '1')} diverged{_when(diverged)}"
    start = finished["initial_loss"]
    num_without = int((~start.is_finite().fill_null(False)).sum())
    if not num_without:
        is_scored = finished["lr"].n_unique() > 1
        return sentence if is_scored else f"{sentence}; at one learning rate alone there is no sensitivity to it"
    lacks = "is not known" if start.is_null().any() else "is not finite"
    whose = "" if num_without == finished.height else f" of {num_without}"
    return f"{sentence}; the loss{whose} {lacks} before any update, so there is no score"


def _when(diverged: pl.DataFrame) -> str:
    first, last = diverged["diverged_step"].min(), diverged["diverged_step"].max()
    if first is None:
        return ""
    return f" at step {first:,}" if first == last else f", the first at step {first:,}, the last at step {last:,}"
