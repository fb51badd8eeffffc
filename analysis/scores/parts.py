"""What each score of the score table is computed from: an entry's whole grid of losses, or one value a seed of it.

One value a seed is a grid of one row, so that whatever works on grids (intervals, paired differences) works on it.
Legend: L learning rates, S seeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.curves import Entries, LossGrid
from analysis.scores.definition import Extent
from analysis.scores.robustness import (
    WINDOW_DECADES,
    best_loss,
    best_lr,
    edge_lr,
    is_at_chance,
    lr_sensitivity_windowed,
    mean_of_present,
    window_share,
)
from analysis.scores.seeds.intervals import unseen_share
from analysis.scores.seeds.wandering import unseen_at, unseen_at_best
from analysis.text import lr_text
from bench.lazy import numpy as np
from bench.spelling import SAME_VALUE

NO_TRACES = "no traces"
_ASSUMES_LOG_N = "every row taken to see N keys: the traces do not say"
ONE_LR = "one learning rate: nothing varies"
_WANDERS = "upper end: cliffs that no seed showed"


@dataclass(frozen=True, kw_only=True)
class ScoredEntry:
    """What the scores of one entry read. `measures` are (L, S) as the grid's losses, NaN where there is nothing."""

    key: tuple[str, ...]
    grid: LossGrid
    at_chance: bool
    default_lr: float | None  # of the methods with the same workload, optimizer and knobs; None if none learned
    measures: Mapping[str, np.ndarray]

    @property
    def best_row(self) -> int:
        """Row of the best lr."""
        grid = self.grid
        return int(np.searchsorted(grid.lrs, best_lr(*grid.data)))

    @property
    def extent(self) -> Extent:
        """What its scores are bounded by."""
        grid, finite = self.grid, self.grid.losses[np.isfinite(self.grid.losses)]
        is_negative = min(np.min(finite, initial=0.0), np.min(grid.initial_losses, initial=0.0)) < 0
        return Extent(
            lrs=(float(grid.lrs[0]), float(grid.lrs[-1])),
            num_steps=self._largest("num_steps"),
            seconds=self._largest("wall_s"),
            last_layer=self._largest("last_layer"),
            least_loss=-np.inf if is_negative else 0.0,
        )

    def _largest(self, name: str) -> float:
        """The largest value of a measure; infinite where no trial has it."""
        present = self.measures[name][~np.isnan(self.measures[name])]
        return float(present.max()) if len(present) else np.inf

    @property
    def is_traced(self) -> bool:
        return bool(np.nansum(self.measures["has_loss"]) > 0)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a score is computed from, None where it has no value, and what its reader should know.

    `unseen`: how far its expectation may lie above its value beyond what the spread over seeds says, >= 0.
    """

    grid: LossGrid | None
    note: str
    unseen: float = 0.0


PartOf = Callable[[ScoredEntry], Part]


def default_lrs(grids: Entries) -> dict[tuple[str, ...], float | None]:
    """The default lr by entry: the lower median of the best lrs of the methods that learned; None if none did.

    Of those with its workload, optimizer and knobs. What one would set without tuning a method: the rate that suits the
    methods there are. Source: this project.
    """
    best: dict[tuple[str, ...], list[float]] = {}
    for (workload, _, optimizer, knobs), grid in grids.items():
        losses = best.setdefault((workload, optimizer, knobs), [])
        losses += [] if is_at_chance(*grid.data) else [float(best_lr(*grid.data))]
    medians = {group: sorted(lrs)[(len(lrs) - 1) // 2] if lrs else None for group, lrs in best.items()}
    return {key: medians[key[0], key[2], key[3]] for key in grids}


def whole(entry: ScoredEntry) -> Part:
    """The grid as it is."""
    return Part(grid=entry.grid, note="")


def along_lrs(entry: ScoredEntry) -> Part:
    """The grid as it is, unless it has one learning rate alone, along which nothing varies."""
    return whole(entry) if len(entry.grid.lrs) > 1 else Part(grid=None, note=ONE_LR)


def best_losses(entry: ScoredEntry) -> Part:
    """The grid as it is, with what cliffs that no seed showed may add to the best loss; says if nothing was learned."""
    grid = entry.grid
    unseen = 0.0 if entry.at_chance else unseen_at_best(grid)
    initial = float(grid.initial_losses.mean())
    note = _WANDERS if unseen else ""
    if float(best_loss(*grid.data)) > initial:
        note = "above the loss at init, at which sensitivities are clipped"
    if np.isinf(mean_of_present(grid.losses)).all():
        note = "a seed diverged at every lr: the loss at init"
    return Part(grid=grid, note=note, unseen=unseen)


def blown_up(entry: ScoredEntry) -> Part:
    """1 for every trial that blew up, 0 for every other."""
    return Part(grid=dataclasses.replace(entry.grid, losses=entry.measures["blown_up"]), note="")


def stuck(entry: ScoredEntry) -> Part:
    """1 for every trial that is stuck, 0 for every other."""
    return Part(grid=dataclasses.replace(entry.grid, losses=entry.measures["stuck"]), note="")


def windowed(entry: ScoredEntry) -> Part:
    """The grid as it is, if two lrs are in the window of the windowed sensitivity; says where it ends inside it."""
    grid = entry.grid
    if len(grid.lrs) < 2:
        return along_lrs(entry)
    if np.isnan(lr_sensitivity_windowed(*grid.data)):
        return Part(grid=None, note=f"one learning rate within {WINDOW_DECADES:g} decades of the best: nothing varies")
    share = float(window_share(*grid.data))
    decades = 2 * WINDOW_DECADES
    cut = f"the grid holds {share * decades:.1f} of the {decades:g} decades" if share < 1 - 1e-9 else ""
    return Part(grid=grid, note=cut)


def edged(entry: ScoredEntry) -> Part:
    """The grid where some lr is stable; says so where all of them are, up to the largest."""
    edge = float(edge_lr(*entry.grid.data))
    if np.isnan(edge):
        return Part(grid=None, note="no stable lr")
    is_censored = edge == entry.grid.lrs[-1]
    return Part(grid=entry.grid, note="censored: stable up to the top of the grid" if is_censored else "")


def final_losses_at_best(entry: ScoredEntry) -> Part:
    """Each seed's final loss at the best lr, where two seeds at least have one and none diverged."""
    grid, row = entry.grid, entry.best_row
    at = f"at lr {lr_text(grid.lrs[row])}"
    if np.isinf(grid.losses[row]).any():
        return Part(grid=None, note=f"a seed diverged {at}")
    values_S = _seed_values(grid, grid.losses[row])
    return (
        Part(grid=values_S, note=at)
        if values_S and len(values_S.seeds) > 1
        else Part(grid=None, note="needs two seeds")
    )


def losses_at_default(entry: ScoredEntry) -> Part:
    """Each seed's final loss at the default lr, clipped at its own loss at init; unseen cliffs as in `best_losses`."""
    grid, lr = entry.grid, entry.default_lr
    if lr is None:
        return Part(grid=None, note="no default lr: no method learned")
    rows = np.flatnonzero(np.isclose(grid.lrs, lr, rtol=SAME_VALUE, atol=0))
    if not len(rows):
        return Part(grid=None, note=f"lr {lr_text(lr)} is not in its grid")
    values_S = _seed_values(grid, np.minimum(grid.losses[rows[0]], grid.initial_losses))
    unseen = 0.0 if entry.at_chance else unseen_at(grid, int(rows[0]))
    notes = (f"at lr {lr:.3g}", _WANDERS if unseen else "")
    return Part(grid=values_S, note=", ".join(filter(None, notes)), unseen=unseen)


def over_lrs(name: str, nothing: str) -> PartOf:
    """A measure over the whole grid, without the seeds that have no value of it; `nothing` is the note if none has."""

    def part(entry: ScoredEntry) -> Part:
        values_LS = entry.measures[name]
        kept = np.flatnonzero(~np.isnan(values_LS).all(0))
        if not len(kept):
            return Part(grid=None, note=nothing if entry.is_traced else NO_TRACES)
        num_left = len(entry.grid.seeds) - len(kept)
        return Part(
            grid=_of_values(entry.grid, values_LS, kept), note=f"{num_left} seeds: {nothing}" if num_left else ""
        )

    return part


def at_best(name: str, nothing: str) -> PartOf:
    """Each seed's value of a measure at the best lr, if every seed that ran there has one: no mean over lucky seeds.

    `nothing` is the note where some have none.
    """

    def part(entry: ScoredEntry) -> Part:
        row = entry.best_row
        present_S, values_S = ~np.isnan(entry.grid.losses[row]), entry.measures[name][row]
        num_lacking, at = int((present_S & np.isnan(values_S)).sum()), f"at lr {lr_text(entry.grid.lrs[row])}"
        if not num_lacking:
            return Part(grid=_seed_values(entry.grid, values_S), note=at)
        note = f"{nothing} {at}: {num_lacking} of {present_S.sum()} seeds"
        return Part(grid=None, note=note if entry.is_traced else NO_TRACES)

    return part


def of_spikes(part: PartOf) -> PartOf:
    """A part of shares of measured losses; where none of them is a spike, with what so many may not have shown."""

    def reached(entry: ScoredEntry) -> Part:
        part_of_entry = part(entry)
        if part_of_entry.grid is None or np.nansum(part_of_entry.grid.losses) > 0:
            return part_of_entry
        num_judged = int(np.nansum(np.where(np.isnan(entry.measures["spike_share"]), 0, entry.measures["num_judged"])))
        note = ", ".join(filter(None, (part_of_entry.note, f"none of {num_judged:,} losses")))
        return dataclasses.replace(part_of_entry, note=note, unseen=unseen_share(num_judged))

    return reached


def of_entropy(part: PartOf) -> PartOf:
    """A part whose measures are shares of the entropy of uniform rows; says so where log N stood in for it."""

    def noted(entry: ScoredEntry) -> Part:
        part_of_entry = part(entry)
        if part_of_entry.grid is None or not np.nansum(entry.measures["assumes_log_n"]) > 0:
            return part_of_entry
        return dataclasses.replace(part_of_entry, note=", ".join(filter(None, (part_of_entry.note, _ASSUMES_LOG_N))))

    return noted


# Those that read nothing but losses.
UNTRACED: tuple[PartOf, ...] = (
    *(whole, along_lrs, windowed, edged),
    *(best_losses, blown_up, stuck, losses_at_default, final_losses_at_best),
)


def _seed_values(grid: LossGrid, values_S: np.ndarray) -> LossGrid | None:
    """A grid of one row of these values, without the seeds that have none; None if none has any."""
    kept = np.flatnonzero(~np.isnan(values_S))
    return _of_values(grid, values_S[None], kept) if len(kept) else None


def _of_values(grid: LossGrid, values_LS: np.ndarray, kept: np.ndarray) -> LossGrid:
    """The grid with these values for losses, and only the seeds at these places."""
    of_kept = grid.of_seeds(tuple(grid.seeds[place] for place in kept))
    return dataclasses.replace(of_kept, losses=values_LS[:, kept], lrs=grid.lrs[: len(values_LS)])
