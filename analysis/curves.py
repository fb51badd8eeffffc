"""Results to curves: which trials belong to one entry of a leaderboard, and their losses as an (lr x seed) matrix.

An entry is one (workload, method, optimizer, knobs). Scores are over lr alone, so every other knob must be fixed within
an entry: where a suite varies others, each combination becomes an entry of its own and is written into `knobs`.
Legend: L learning rates, S seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from analysis.blown_up import with_blown_up
from analysis.once import once_a_frame
from analysis.spelling import with_one_spelling
from analysis.stuck import with_stuck
from bench.errors import UsageError
from bench.held_out import HELD_OUT_COLUMNS
from bench.lazy import numpy as np
from bench.lazy import polars as pl
from bench.outcome import RESULT_COLUMNS, RESULT_OUTCOMES, Outcome
from bench.trial import KINDS, KNOB_NAMES

ENTRY: tuple[str, ...] = ("workload", "method", "optimizer", "knobs")
_POINT_COLUMNS = (*ENTRY, "lr", "seed", "initial_loss", "final_loss", "outcome", "blown_up", "stuck")
CURVE_COLUMNS: tuple[str, ...] = (*_POINT_COLUMNS, *HELD_OUT_COLUMNS)

# Whatever may vary in a suite beside lr and seed, and is not named by workload, method or optimizer.
CIRCUMSTANCES: tuple[str, ...] = (*(kind for kind in KINDS if kind not in ENTRY), "num_steps")
_SPLITTING: tuple[str, ...] = (*CIRCUMSTANCES, *(name for name in KNOB_NAMES if name != "lr"))


@dataclass(frozen=True, kw_only=True)
class LossGrid:
    """Final losses of one entry, and what went missing.

    lrs (L,) ascending; losses (L, S), +inf where the seed diverged and NaN where the trial is missing or lost;
    initial_losses (S,), each seed's loss before any update, averaged over its trials. Only lrs and seeds with at least
    one result are kept.
    """

    lrs: np.ndarray
    seeds: tuple[int, ...]
    losses: np.ndarray
    initial_losses: np.ndarray
    num_lost: int
    is_complete: bool  # every lr of the entry has a result for every seed of the entry

    @property
    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What a score takes: losses, initial_losses, lrs."""
        return self.losses, self.initial_losses, self.lrs

    @property
    def num_trials(self) -> int:
        return int((~np.isnan(self.losses)).sum())

    def of_seeds(self, seeds: tuple[int, ...]) -> LossGrid:
        """The grid with only these seeds, in this order; every lr stays, NaN where nothing is left."""
        columns = [self.seeds.index(seed) for seed in seeds]
        return replace(self, seeds=seeds, losses=self.losses[:, columns], initial_losses=self.initial_losses[columns])


Entries = dict[tuple[str, ...], LossGrid]  # of one workload, by ENTRY key


def require_columns(frame: pl.DataFrame, columns: Mapping[str, str] | tuple[str, ...], what: str) -> None:
    """Raises UsageError naming the missing columns, or those of another type if `columns` gives types."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UsageError(f"{what} lacks the columns {', '.join(missing)}; it has {', '.join(frame.columns)}")
    if isinstance(columns, Mapping):
        wrong = [
            f"{name} is {frame[name].dtype}, required {columns[name]}"
            for name in columns
            if frame[name].dtype not in (getattr(pl, columns[name])(), pl.Null())
        ]
        if wrong:
            raise UsageError(f"{what} has columns of another type: {'; '.join(wrong)}")


@once_a_frame
def with_knobs(results: pl.DataFrame) -> pl.DataFrame:
    """`results` with the column `knobs`: text such as 'warmup_steps=100, weight_decay=0.1', '' where nothing varies.

    A knob (or one of CIRCUMSTANCES) is named where it varies among the trials of a workload and optimizer;
    what `settings` holds is always named. Knobs are in one spelling (analysis.spelling).
    """
    (results,) = with_one_spelling(results)
    group = ["workload", "optimizer"]
    settings = pl.col("settings").fill_null("{}")
    text = settings.str.replace_all(r'[{}"]', "").str.replace_all(":", "=").str.replace_all(",", ", ")
    parts = [
        pl.when((pl.col(name).n_unique().over(group) > 1) & (pl.col(name).cast(pl.String) != "")).then(
            pl.format(f"{name}={{}}", _plain(name, results.schema[name]))
        )
        for name in _SPLITTING
    ]
    parts.append(pl.when(settings != "{}").then(text))
    return results.with_columns(knobs=pl.concat_str(parts, separator=", ", ignore_nulls=True))


def _plain(name: str, kind: pl.DataType) -> pl.Expr:
    """A column as text; a whole number, such as of steps, without a decimal point."""
    column = pl.col(name)
    if not kind.is_float():
        return column.cast(pl.String)
    whole = column.cast(pl.Int64, strict=False)
    return pl.when(whole == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))


@once_a_frame
def curves(results: pl.DataFrame) -> pl.DataFrame:
    """One row a point of an entry's (lr x seed) grid: CURVE_COLUMNS, sorted by them.

    `results` has RESULT_COLUMNS, and the loss that was chosen (analysis.losses) in initial_loss and final_loss.
    `final_loss` is +inf where the trial diverged or its loss is NaN, and null where it was lost; `blown_up` as
    analysis.blown_up says, `stuck` as analysis.stuck. A lost trial gives way to a result for the same point. Raises
    UsageError if two results claim one point.
    """
    require_columns(results, RESULT_COLUMNS, "the results frame")
    return one_a_point(with_knobs(results), [*ENTRY, "lr", "seed"]).select(CURVE_COLUMNS)


def one_a_point(results: pl.DataFrame, point: list[str]) -> pl.DataFrame:
    """One row for each value of the columns `point`, sorted by them; losses, rivals and lost trials as in `curves`."""
    trials = _one_a_trial(results)
    finished, lost = trials.filter(pl.col("final_loss").is_not_null()), trials.filter(pl.col("final_loss").is_null())
    _refuse_rivals(finished, point)
    only_lost = lost.unique(point, keep="first").join(finished, on=point, how="anti", nulls_equal=True)
    return with_stuck(with_blown_up(pl.concat([finished, only_lost]))).sort(point)


def _one_a_trial(results: pl.DataFrame) -> pl.DataFrame:
    """The results with one row a trial id, which has a result if any has; `final_loss` as in `curves`; by trial id."""
    is_result = pl.col("outcome").is_in(RESULT_OUTCOMES) & pl.col("final_loss").is_not_null()
    is_diverged = (pl.col("outcome") == Outcome.DIVERGED.value) | pl.col("final_loss").is_nan()
    loss = pl.when(is_diverged).then(float("inf")).otherwise(pl.col("final_loss"))
    return (
        results.with_columns(pl.col("final_loss", "initial_loss", *HELD_OUT_COLUMNS).cast(pl.Float64))
        .with_columns(final_loss=pl.when(is_result).then(loss))
        .sort(pl.col("final_loss").is_null(), "trial_id", maintain_order=True)
        .unique("trial_id", keep="first", maintain_order=True)
    )


@once_a_frame
def loss_grids(curve_frame: pl.DataFrame) -> dict[tuple[str, ...], LossGrid]:
    """The LossGrid of every entry that `can_be_scored`, by its ENTRY key, ascending. Takes the frame of `curves`."""
    require_columns(curve_frame, CURVE_COLUMNS, "the curves frame")
    grids = {}
    scored = curve_frame.filter(can_be_scored())
    for key, group in scored.sort(*ENTRY, "lr", "seed").group_by(ENTRY, maintain_order=True):
        finished = group.filter(pl.col("final_loss").is_not_null())
        if finished.height:
            grids[tuple(str(part) for part in key)] = _loss_grid(group, finished)
    return grids


def can_be_scored() -> pl.Expr:
    """True on every row of an entry that has a result, and a finite loss at init of each trial that has one.

    Scores clip losses at the loss at init, so that an entry has none where that is not finite.
    """
    is_result = pl.col("final_loss").is_not_null()
    is_clipped = pl.col("initial_loss").is_finite().fill_null(False)
    return (is_result.any() & (is_clipped | ~is_result).all()).over(*ENTRY)


def entries_by_workload(results: pl.DataFrame) -> list[Entries]:
    """The LossGrid of every entry that `can_be_scored`, by its ENTRY key, a dict a workload."""
    workloads: dict[str, Entries] = {}
    for key, grid in loss_grids(curves(results)).items():
        workloads.setdefault(key[0], {})[key] = grid
    return list(workloads.values())


def matrices(axes: Mapping[str, Any], rows: pl.DataFrame, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Each column of these names as an array over the axes, NaN where no row, or a null, stands.

    `axes` are the columns that say where a value stands, with all values of each, ascending.
    """
    places = tuple(np.searchsorted(values, rows[axis].to_numpy()) for axis, values in axes.items())
    arrays = {name: np.full([len(values) for values in axes.values()], np.nan) for name in names}
    for name, array in arrays.items():
        array[places] = rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return arrays


def label_of(key: Iterable[object]) -> str:
    """What tables and figures call an entry, or a place such as a workload and its knobs: the parts that say something.

    Commas between them.
    """
    return ", ".join(str(part) for part in key if part)


def short_labels(rows: pl.DataFrame) -> list[str]:
    """What to call the entry of each row: its method, with the optimizer and knobs only where there are several."""
    names = ["method", *(name for name in ("optimizer", "knobs") if rows[name].n_unique() > 1)]
    return [label_of(key) for key in rows.select(names).iter_rows()]


def groups_of(frame: pl.DataFrame, *names: str) -> list[tuple[tuple[Any, ...], pl.DataFrame]]:
    """The key and rows of each group of these columns, in the frame's order; none of an empty frame."""
    return [] if frame.is_empty() else list(frame.group_by(*names, maintain_order=True))


def _loss_grid(group: pl.DataFrame, finished: pl.DataFrame) -> LossGrid:
    lrs_L, seeds_S = (finished[name].unique().sort().to_numpy() for name in ("lr", "seed"))
    losses = matrices({"lr": lrs_L, "seed": seeds_S}, finished, ["final_loss"])
    initial = finished.group_by("seed").agg(pl.col("initial_loss").mean()).sort("seed")["initial_loss"].to_numpy()
    return LossGrid(
        lrs=lrs_L,
        seeds=tuple(seeds_S.tolist()),
        losses=losses["final_loss"],
        initial_losses=initial,
        num_lost=group.height - finished.height,
        is_complete=finished.height == group["lr"].n_unique() * group["seed"].n_unique(),
    )


def _refuse_rivals(frame: pl.DataFrame, point: list[str]) -> None:
    rivals = frame.filter(pl.len().over(point) > 1)
    if rivals.height:
        where = rivals.row(0, named=True)
        ids = rivals.filter(*(pl.col(name) == where[name] for name in point))["trial_id"].to_list()
        place = ", ".join(f"{name} {where[name]}" for name in point if where[name] != "")
        raise UsageError(f"several trials ({', '.join(ids)}) have a result for {place}; keep one of them")
