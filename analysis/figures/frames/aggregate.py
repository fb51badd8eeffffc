"""What figures draw: results and traces condensed to a few thousand rows at most. Computes; draws nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.curves import ENTRY, can_be_scored, curves, require_columns
from analysis.scores.traces import COLLAPSE_SHARE
from bench.errors import UsageError
from bench.held_out import HELD_OUT
from bench.outcome import RESULT_COLUMNS, RESULT_OUTCOMES, Outcome
from bench.trace import TRACE_COLUMNS

MAX_STEPS = 80
MAX_LAYER_STEPS = 40  # of a figure with a line a layer

# Column of summaries of traces: nats, the most that the entropy of a method can be; null where traces do not say.
UNIFORM_ENTROPY = "uniform_entropy"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel of a trace figure: its titles, and what it reads, the first of these quantities that was measured."""

    title: str
    axis: str
    reads: tuple[str, ...]
    is_log: bool = False


# Held-out quantities have steps of their own. Any quantity beside these and those of NO_PANEL has a panel of its name.
TRACE_PANELS: dict[str, Panel] = {
    "loss": Panel(title="Training loss", axis="loss (log scale)", reads=("loss",), is_log=True),
    "grad_norm": Panel(title="Gradient norm", axis="gradient 2-norm (log scale)", reads=("grad_norm",), is_log=True),
    "entropy": Panel(
        title="Attention entropy", axis="entropy, mean over layers (nats)", reads=("entropy_mean", "entropy")
    ),
    "frobenius_norm": Panel(
        title="Frobenius norm of attention, ||P||", axis="||P||, mean over layers", reads=("frobenius_norm",)
    ),
    "val_loss": Panel(
        title="Held-out loss (dots) and training loss (thin)", axis="loss (log scale)", reads=("val_loss",), is_log=True
    ),
    "val_accuracy": Panel(title="Held-out accuracy", axis="accuracy", reads=("val_accuracy",)),
    "row_mass": Panel(title="Row mass of attention", axis="mean row sum, mean over layers", reads=("row_mass",)),
}
NO_PANEL = {
    "entropy_std", "least_head_entropy", UNIFORM_ENTROPY, "logit_variance", "max_logit", "val_calibration_error",
}  # fmt: skip
NO_PANEL_BY_ROLE = ("weight_norm_", "gradient_norm_", "update_norm_")  # relative updates say it, a panel a role

# Of the seeds of a line's method at the lr that is drawn: how many diverged, of how many with a result, and when.
DIVERGED_COLUMNS: dict[str, type[pl.DataType]] = {
    "first_diverged": pl.Int64,  # step; null: none did, or it is not known when
    "last_diverged": pl.Int64,
    "num_diverged": pl.Int64,
    "num_trials": pl.Int64,
}

# Of a point of a curve, beside its ENTRY and lr.
LOSS_COLUMNS = ("loss_mean", "loss_low", "loss_high", "initial_loss", "num_diverged", "num_blown_up", "num_seeds")

_LINE = ["method", "outcome"]


def loss_summary(results: pl.DataFrame) -> pl.DataFrame:
    """Final loss against lr, one row an lr and entry that `can_be_scored`: what `loss_against_lr` draws.

    Columns: ENTRY, lr and LOSS_COLUMNS: loss_mean, loss_low, loss_high (mean, least and largest over seeds of the final
    loss clipped at the seed's own loss at init, so a diverged seed counts as that), initial_loss (mean over the entry's
    seeds), num_diverged, num_blown_up, num_seeds.
    """
    points = curves(results).filter(can_be_scored(), pl.col("final_loss").is_not_null())
    clipped = pl.min_horizontal("final_loss", "initial_loss")
    return (
        points.sort(*ENTRY, "lr", "seed")
        .group_by(*ENTRY, "lr", maintain_order=True)
        .agg(
            loss_mean=clipped.mean(),
            loss_low=clipped.min(),
            loss_high=clipped.max(),
            initial_loss=pl.col("initial_loss").mean(),
            num_diverged=pl.col("final_loss").is_infinite().sum(),
            num_blown_up=pl.col("blown_up").sum(),
            num_seeds=pl.len(),
        )
        .sort(*ENTRY, "lr")
    )


def telling_lr(results: pl.DataFrame) -> float:
    """The lr at which methods differ most: largest variance over entries of the seedwise clipped mean loss.

    Only lrs that every entry has count, if there are any. The smallest wins a tie.
    """
    summary = loss_summary(results)
    if summary.is_empty():
        raise UsageError("no trial has a result, so no learning rate can be chosen; run the suite first")
    spread = (
        summary.group_by("lr", maintain_order=True)
        .agg(entries=pl.len(), spread=pl.col("loss_mean").var(ddof=0))
        .sort("lr")
    )
    common = spread.filter(pl.col("entries") == pl.col("entries").max())
    return float(common.sort("spread", "lr", descending=[True, False])["lr"][0])


def trace_summary(results: pl.DataFrame, traces: pl.DataFrame, lr: float | Mapping[str, float]) -> pl.DataFrame:
    """Traces against step at one lr (or one a method): what `training_behaviour` draws.

    `traces` has TRACE_COLUMNS and trial_id. Seeds that completed and seeds that diverged are averaged apart, the
    latter up to the first divergence among them, so no mean jumps when a seed drops out. Columns: panel (a key of
    `trace_panels`), method, outcome, step, value (mean over seeds, and over layers where there are), low and high
    (value -+ the standard deviation over layers, for the entropy; else null), num_seeds, is_end (a line's last step
    before a divergence), UNIFORM_ENTROPY, and DIVERGED_COLUMNS. At most MAX_STEPS log-spaced steps a line, of those at
    which its quantity was measured. Raises UsageError where a method occurs twice (several workloads, optimizers or
    knobs).
    """
    chosen = _trials_at(results, lr)
    drawn = trace_panels(traces["quantity"].unique())
    wanted = {"entropy_std", *(name for panel in drawn.values() for name in panel.reads)}
    number = pl.col("value").cast(pl.Float64)
    values = (
        _measured(traces, chosen, wanted)
        .group_by(*_LINE, "trial_id", "step", "quantity", maintain_order=True)
        .agg(value=number.mean(), spread=number.std(ddof=0))
        .group_by(*_LINE, "step", "quantity", maintain_order=True)
        .agg(value=pl.col("value").mean(), spread=pl.col("spread").mean(), num_seeds=pl.len().cast(pl.Int64))
    )
    panels = [_panel(values, name, panel.reads) for name, panel in drawn.items()]
    return _with_ends(pl.concat(panels), ["panel", *_LINE], chosen, traces)


def trace_panels(quantities: Iterable[str]) -> dict[str, Panel]:
    """TRACE_PANELS, and a panel for each other of the quantities that is not in NO_PANEL, nor by role of parameters.

    What is measured on held-out data bears its title, all else its name.
    """
    known = NO_PANEL.union(*(panel.reads for panel in TRACE_PANELS.values()))
    others = sorted(name for name in set(quantities) - known if not name.startswith(NO_PANEL_BY_ROLE))
    titles = {name: HELD_OUT[name].title if name in HELD_OUT else name for name in others}
    return TRACE_PANELS | {name: Panel(title=title, axis=title, reads=(name,)) for name, title in titles.items()}


def layer_summary(
    results: pl.DataFrame, traces: pl.DataFrame, lr: float | Mapping[str, float], quantity: str = "entropy"
) -> pl.DataFrame:
    """A quantity of each layer against step at one lr (or one a method): of the entropy, what `entropy_by_layer` draws.

    Arguments, and what happens with diverged seeds, as in `trace_summary`. Columns: method, outcome, layer, step, value
    (mean over seeds; of the entropy in nats), num_seeds, is_end, UNIFORM_ENTROPY, and DIVERGED_COLUMNS. At most
    MAX_LAYER_STEPS log-spaced steps a line.
    """
    chosen = _trials_at(results, lr)
    values = (
        _measured(traces, chosen, {quantity})
        .group_by(*_LINE, "layer", "step", maintain_order=True)
        .agg(value=pl.col("value").cast(pl.Float64).mean(), num_seeds=pl.len().cast(pl.Int64))
    )
    line = [*_LINE, "layer"]
    return _with_ends(_thinned(values, line, MAX_LAYER_STEPS), line, chosen, traces)


def most_entropy(rows: pl.DataFrame, num_keys: int) -> pl.Series:
    """UNIFORM_ENTROPY of each row of a summary, log N where it is null, N = `num_keys`; nats."""
    return rows[UNIFORM_ENTROPY].fill_null(math.log(num_keys))


def collapses(rows: pl.DataFrame, line: list[str], num_keys: int) -> pl.DataFrame:
    """The rows at which lines of entropy collapse: each line's first below COLLAPSE_SHARE of `most_entropy`.

    `rows` has the columns `line`, step, value (nats) and UNIFORM_ENTROPY. That share of the largest value of the
    entropy is the collapse of analysis.scores.traces, there of a trial's layer; here of what a line shows, such as a
    mean over seeds.
    """
    require_columns(rows, (*line, "step", "value", UNIFORM_ENTROPY), "the entropy summary")
    below = rows.filter(rows["value"] < COLLAPSE_SHARE * most_entropy(rows, num_keys))
    return below.sort(*line, "step").unique(line, keep="first", maintain_order=True)


def plot_limits(values: pl.Series, *, cap: float | None = None) -> tuple[float, float]:
    """Limits of a log axis: the 0.5% and 99.5% quantiles of the positive values and a tenth of a decade more.

    (1, 10) if there are none. `cap` bounds the upper limit, lest the last steps before a divergence flatten the rest.
    """
    positive = values.filter((values > 0) & values.is_finite()).to_numpy()
    if not len(positive):
        return (1.0, 10.0)
    low, high = np.quantile(positive, [0.005, 0.995])
    high = high if cap is None else min(high, cap)
    return float(low / 10**0.1), float(max(high, low) * 10**0.1)


def _measured(traces: pl.DataFrame, chosen: pl.DataFrame, quantities: Collection[str]) -> pl.DataFrame:
    """Finite values of the quantities with method and outcome, those of diverged seeds up to their first divergence.

    In one order, and grouped in it: the sum of the same numbers in another differs in its last digit.
    """
    require_columns(traces, (*TRACE_COLUMNS, "trial_id"), "the traces frame")
    chosen = chosen.with_columns(end=pl.col("diverged_step").min().over(_LINE))
    return (
        traces.lazy()
        .filter(pl.col("quantity").is_in(sorted(quantities)) & pl.col("value").is_finite())
        .join(chosen.lazy().select("trial_id", "end", *_LINE), on="trial_id")
        .filter(pl.col("end").is_null() | (pl.col("step") <= pl.col("end")))
        .sort("trial_id", "quantity", "step", "layer")
        .collect()
    )


def _panel(values: pl.DataFrame, panel: str, names: tuple[str, ...]) -> pl.DataFrame:
    present = [name for name in names if (values["quantity"] == name).any()]
    rows = values.filter(pl.col("quantity").is_in(present[:1]))
    if present[:1] == ["entropy_mean"]:
        spread = values.filter(pl.col("quantity") == "entropy_std").select(*_LINE, "step", spread="value")
        rows = rows.drop("spread").join(spread, on=[*_LINE, "step"], how="left")
    spread = pl.col("spread") if panel == "entropy" else pl.lit(None, pl.Float64)
    low, high = (pl.col("value") - spread).clip(lower_bound=0), pl.col("value") + spread
    return _thinned(rows, _LINE, MAX_STEPS).select(
        pl.lit(panel).alias("panel"), *_LINE, "step", "value", low=low, high=high, num_seeds="num_seeds"
    )


def _thinned(rows: pl.DataFrame, line: list[str], max_steps: int) -> pl.DataFrame:
    """The last row of each line in each of `max_steps` equal parts of the log axis of steps; all rows if they are few.

    Each line keeps steps of its own, for lines may be measured at different ones.
    """
    if rows["step"].n_unique() <= max_steps:
        return rows
    end = rows.select((pl.col("step") + 2).max()).item()
    part = ((pl.col("step") + 1).log() / math.log(end) * max_steps).floor()
    return rows.sort("step").unique([*line, part], keep="last", maintain_order=True)


def _with_ends(rows: pl.DataFrame, line: list[str], chosen: pl.DataFrame, traces: pl.DataFrame) -> pl.DataFrame:
    """The rows, sorted, with is_end (the last step of a line of diverged seeds), UNIFORM_ENTROPY, DIVERGED_COLUMNS."""
    is_last = pl.col("step") == pl.col("step").max().over(line)
    is_diverged = pl.col("outcome") == Outcome.DIVERGED.value
    of_method = chosen.group_by("method").agg(
        first_diverged=pl.col("diverged_step").min(),
        last_diverged=pl.col("diverged_step").max(),
        num_diverged=is_diverged.sum().cast(pl.Int64),
        num_trials=pl.len().cast(pl.Int64),
    )
    of_line = [name for name in ("method", "layer") if name in line]  # layers of several stacks see other keys
    uniform = (
        _measured(traces, chosen, {UNIFORM_ENTROPY})
        .group_by(*of_line, maintain_order=True)
        .agg(pl.col("value").cast(pl.Float64).mean().alias(UNIFORM_ENTROPY))
    )
    marked = rows.with_columns(is_end=is_last & is_diverged)
    marked = marked.join(uniform, on=of_line, how="left").join(of_method, on="method", how="left")
    return marked.select(*rows.columns, "is_end", UNIFORM_ENTROPY, *DIVERGED_COLUMNS).sort(*line, "step")


def _trials_at(results: pl.DataFrame, lr: float | Mapping[str, float]) -> pl.DataFrame:
    """The results at the lr (of their method), lost trials left out; methods must be told apart by name alone."""
    require_columns(results, RESULT_COLUMNS, "the results frame")
    keys = curves(results).select(*ENTRY).unique()
    twice = keys.filter(pl.col("method").is_duplicated())
    if twice.height:
        raise UsageError(
            f"method {twice['method'][0]!r} occurs with several workloads, optimizers or knobs; pass the results of one"
        )
    wanted = pl.col("method").replace_strict(dict(lr), default=None) if isinstance(lr, Mapping) else pl.lit(lr)
    is_result = pl.col("outcome").is_in(RESULT_OUTCOMES)
    return results.filter(is_result, ((pl.col("lr") - wanted).abs() <= 1e-9 * wanted).fill_null(False))
