"""Small inline drawings as SVG text: a curve against lr, an interval. Colours are CSS's.

Nothing here reads a name: labels are escaped numbers, so that the text may stand in any page.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from analysis.curves import require_columns
from analysis.figures.frames.aggregate import LOSS_COLUMNS
from analysis.text import counted, decimals, interval_decimals, lr_text, number

_CROSS = 2.6  # half the width of a cross, in pixels
_WHISKER_WIDTH, _WHISKER_HEIGHT = 120.0, 18.0
_WHISKER_MARGIN = 6.0
_IN_TROUBLE = pl.col("num_diverged") + pl.col("num_blown_up") > 0
_BEYOND = 1.25  # times the largest score: intervals beyond it leave the axis of `interval_axis`


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawing in pixels: lr to the right on a log scale, loss upwards.

    `lrs` and `losses` are the values at the edges of the area inside the `margin`, the same on all sides.
    """

    width: float
    height: float
    margin: float
    lrs: tuple[float, float]
    losses: tuple[float, float]

    def x(self, lr: float) -> float:
        """Pixels from the left; the middle if there is but one lr."""
        low, high = (math.log10(end) for end in self.lrs)
        share = (math.log10(lr) - low) / (high - low) if high > low else 0.5
        return self.margin + share * (self.width - 2 * self.margin)

    def y(self, loss: float) -> float:
        """Pixels from the top; at an edge what lies beyond."""
        low, high = self.losses
        share = (min(max(loss, low), high) - low) / (high - low) if high > low else 0.5
        return self.height - self.margin - share * (self.height - 2 * self.margin)


def spark_plot(summary: pl.DataFrame) -> Plot:
    """The plot that the sparklines of a workload share. `summary` is the frame of `loss_summary`."""
    require_columns(summary, ("lr", *LOSS_COLUMNS), "the loss summary")
    lrs, tops = summary["lr"].to_list(), [*summary["initial_loss"], *summary["loss_high"]]
    losses = (min(0.0, *summary["loss_low"]), max(tops))
    return Plot(width=132.0, height=36.0, margin=4.0, lrs=(min(lrs), max(lrs)), losses=losses)


def sparkline(rows: pl.DataFrame, plot: Plot, *, best_lr: float) -> str:
    """One entry's final loss against lr: line, band over seeds, best lr as a dot, lrs in trouble as crosses.

    `rows` are those of `loss_summary` for the entry; trouble is a seed that diverged or blew up. Losses are clipped at
    the loss at init, the dashed line.
    """
    size = f'viewBox="0 0 {plot.width:g} {plot.height:g}" preserveAspectRatio="xMinYMid"'
    label = html.escape(curve_label(rows, best_lr))
    return f'<svg class="spark" role="img" aria-label="{label}" {size}>{"".join(_marks(rows, plot, best_lr))}</svg>'


def curve_label(rows: pl.DataFrame, best_lr: float) -> str:
    """What a curve shows, in words, for those who don't see it."""
    require_columns(rows, ("lr", *LOSS_COLUMNS), "the loss summary")
    lowest, initial = float(rows["loss_mean"].to_numpy().min()), float(rows["initial_loss"].to_numpy().mean())
    diverged = rows.filter(_IN_TROUBLE).sort("lr")["lr"].to_list()
    places = decimals([initial], 3)
    words = f"no seed diverged or blew up at any of {counted(rows.height, 'learning rate', '1')}"
    if diverged:
        of = f"{len(diverged)} of {counted(rows.height, 'learning rate', '1')}"
        words = f"seeds diverged or blew up at {of}, the smallest {lr_text(diverged[0])}"
    return (
        f"Final loss against learning rate {lr_text(rows['lr'].to_list()[0])} to {lr_text(rows['lr'].to_list()[-1])}: "
        f"{number(initial, places)} at init, least {number(lowest, places)}, best learning rate {lr_text(best_lr)}; "
        f"{words}"
    )


def interval_axis(values: Sequence[float], ends: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis for scores and their intervals: from 0, or the least end below, to the largest end.

    An end beyond 1.25 times the largest score is left outside, lest one wide interval flatten all others.
    """
    largest = max(values, default=0.0)
    high = max([largest, *(min(end, _BEYOND * largest) for end in ends)])
    low = min([0.0, *(max(end, -(_BEYOND - 1) * largest) for end in ends)])
    return (low, high) if high > low else (low, low + 1.0)


def whisker(value: float, low: float | None, high: float | None, axis: tuple[float, float]) -> str:
    """A dot at the score and a line over its interval; an arrow where the interval leaves the axis."""
    middle = _WHISKER_HEIGHT / 2
    inner = [f'<path class="axis" d="M{_at(_along(max(axis[0], 0.0), axis), 1)}V{_WHISKER_HEIGHT - 1:g}"/>']
    words = f"{value:.3g}, no interval"
    if low is not None and high is not None:
        places = interval_decimals(low, high, decimals([value], 3))
        score, *ends = (number(one, places) for one in (value, low, high))
        words = f"{score}, 95% interval {' to '.join(ends)}"
        start, end = (_along(min(max(edge, axis[0]), axis[1]), axis) for edge in (low, high))
        inner.append(f'<path class="range" d="M{_at(start, middle)}H{_px(end)}"/>')
        inner += [_end(start, middle, -1, low < axis[0]), _end(end, middle, 1, high > axis[1])]
    inner.append(f'<circle class="dot" cx="{_px(_along(value, axis))}" cy="{middle:g}" r="3.5"/>')
    size = f'viewBox="0 0 {_WHISKER_WIDTH:g} {_WHISKER_HEIGHT:g}"'
    return f'<svg class="whisker" role="img" aria-label="{html.escape(words)}" {size}>{"".join(inner)}</svg>'


def _marks(rows: pl.DataFrame, plot: Plot, best_lr: float) -> list[str]:
    rows = rows.sort("lr")
    initial = _px(plot.y(float(rows["initial_loss"].to_numpy().mean())))
    middle, upper, lower = (
        [_at(plot.x(lr), plot.y(loss)) for lr, loss in rows.select("lr", name).iter_rows()]
        for name in ("loss_mean", "loss_high", "loss_low")
    )
    crosses = rows.filter(_IN_TROUBLE).select("lr", "loss_mean")
    path = "".join(_cross(plot.x(lr), plot.y(loss)) for lr, loss in crosses.iter_rows())
    best = rows.filter((pl.col("lr") - best_lr).abs() <= 1e-9 * best_lr)["loss_mean"].to_list()
    return [
        f'<path class="init" d="M{plot.margin:g},{initial}H{plot.width - plot.margin:g}"/>',
        f'<path class="band" d="M{"L".join([*upper, *reversed(lower)])}Z"/>',
        f'<path class="line" d="M{"L".join(middle)}"/>',
        *([f'<path class="cross" d="{path}"/>'] if path else []),
        *(f'<circle class="best" cx="{_px(plot.x(best_lr))}" cy="{_px(plot.y(loss))}" r="3.2"/>' for loss in best),
    ]


def _cross(x: float, y: float) -> str:
    left, right, top, bottom = x - _CROSS, x + _CROSS, y - _CROSS, y + _CROSS
    return f"M{_at(left, top)}L{_at(right, bottom)}M{_at(left, bottom)}L{_at(right, top)}"


def _end(x: float, y: float, direction: int, is_beyond: bool) -> str:
    """The cap of an interval, or an arrow head where it goes on."""
    if is_beyond:
        back = x - 5 * direction
        return f'<path class="range" d="M{_at(back, y - 4)}L{_at(x, y)}L{_at(back, y + 4)}"/>'
    return f'<path class="range" d="M{_at(x, y - 3)}V{_px(y + 3)}"/>'


def _along(value: float, axis: tuple[float, float]) -> float:
    low, high = axis
    return _WHISKER_MARGIN + (value - low) / (high - low) * (_WHISKER_WIDTH - 2 * _WHISKER_MARGIN)


def _at(x: float, y: float) -> str:
    return f"{_px(x)},{_px(y)}"


def _px(value: float) -> str:
    """A tenth of a pixel is enough."""
    return f"{value:.1f}".rstrip("0").rstrip(".")
