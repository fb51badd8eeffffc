"""The report's figures, a few methods at a time: what each draws, and its words. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import polars as pl

from analysis.curves import ENTRY, groups_of, label_of, with_knobs
from analysis.figures.diverged import diverged_map_chart
from analysis.figures.edges import LEAST_DRAWN, curvature_over_edge
from analysis.figures.explore import explore_spec
from analysis.figures.frames.aggregate import layer_summary, loss_summary, telling_lr, trace_summary
from analysis.figures.frames.diverged_map import COMPLETED, diverged_map
from analysis.figures.frames.edges import EDGES, edge_summary
from analysis.figures.frames.explored import MAX_VALUES, explored
from analysis.figures.lr_loss import loss_against_lr
from analysis.figures.style.chart_style import Chart
from analysis.figures.style.diverged_words import diverged_sentence
from analysis.figures.traces import entropy_by_layer, training_behaviour
from analysis.losses import SCORED_LOSSES, can_score_held_out, choose_loss
from analysis.subject import Subject, no_traces
from analysis.text import lr_text

METHODS_PER_FIGURE = 14  # seven colours, each solid and dashed

# Which of SCORED_LOSSES is drawn against lr: the file's name.
_LOSS_FIGURES: dict[str, str] = {"train": "loss_against_lr", "validation": "val_loss_against_lr"}

_LOSS_NOTE = (
    "Line: mean over seeds; bar: least to largest seed; ×: at least one seed diverged, or blew up (ended above its "
    "loss at init), and counts as its loss at init"
)
TRACE_NOTE = (
    "Mean over the seeds that completed; lines ending in ×: over the seeds that diverged, up to the first divergence"
)
_ENTROPY_NOTE = (
    "\nEntropy band: standard deviation over layers; triangle: entropy collapse, the mean falls below a tenth of that "
    "of uniform rows"
)
_LAYER_NOTE = (
    "Mean over the seeds that completed; dashed lines ending in ×: over the seeds that diverged, up to the first "
    "divergence\nTriangle: entropy collapse, a layer falls below a tenth of the entropy of uniform rows"
)
_HEAD_NOTE = _LAYER_NOTE.replace("a layer falls", "a layer's least head falls")
_EDGE_NOTE = (
    "Median over seeds; lines ending in × up to the first seed that diverged. Above 1 a quadratic loss would rise "
    "along that direction,\nand training is no quadratic: a ratio above 1 is no divergence. "
    f"Below {LEAST_DRAWN:g} nothing is drawn"
)
_ROUNDING = 1e-4  # nats
_MAP_NOTE = (
    "Grey: completed, with a triangle: blew up (ended above its loss at init), with a bar: stuck (neither learned nor "
    "blew up)\nColour: diverged, dark is early; ×: no result (crashed, out of memory or timed out)"
)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One figure: `kind` starts its file name, `place` says of what it is, `summary` is what the chart draws.

    `draw` makes the chart, which alone needs what draws to be installed.
    """

    kind: str
    title: str
    place: str
    draw: Callable[[], Chart]
    summary: pl.DataFrame

    @classmethod
    def of(
        cls,
        chart: Callable[..., Chart],
        frame: pl.DataFrame,
        *,
        kind: str,
        title: str,
        place: str,
        note: str,
        **more: Any,
    ) -> Drawn:
        """A figure that `chart` makes of a frame; the note stands below the place. more: what else `chart` takes."""
        draw = partial(chart, frame, title=title, subtitle=f"{place}\n{note}" if note else place, **more)
        return cls(kind=kind, title=title, place=place, draw=draw, summary=frame)

    @cached_property
    def chart(self) -> Chart:
        """The chart, made when it is first asked for."""
        return self.draw()


def each_drawn(
    chart: Callable[..., Chart], frame: pl.DataFrame, *names: str, kind: str, title: str, note: str, **more: Any
) -> list[Drawn]:
    """A figure, as `Drawn.of` has it, for each group of these columns, which say of what it is."""
    groups = groups_of(frame, *names)
    return [
        Drawn.of(chart, rows, kind=kind, title=title, place=label_of(key), note=note, **more) for key, rows in groups
    ]


def curve_figures(subject: Subject) -> Iterator[Drawn]:
    """Curves against lr, and traces at the lr at which methods differ most in the scored loss, by `parts`."""
    traces = subject.traces(trials_to_trace(subject))
    for place, part in parts(subject.results):
        yield from _loss_figures(part, place)
        yield from _trace_figures(part, traces, place, subject)
        if set(EDGES) & set(traces.filter(pl.col("trial_id").is_in(part["trial_id"].to_list()))["quantity"]):
            yield from _edge_figures(part, subject, place)


def trials_to_trace(subject: Subject) -> list[str]:
    """Ids of the trials whose traces are drawn; no others need be read."""
    if subject.trace_lots is no_traces:
        return []
    scored = [part for _, part in parts(subject.scored) if not loss_summary(part).is_empty()]
    drawn = [part.filter(pl.col("lr") == telling_lr(part))["trial_id"].to_list() for part in scored]
    return sorted(set().union(*drawn))


def _loss_figures(part: pl.DataFrame, place: str) -> Iterator[Drawn]:
    """Final loss against lr: of training, and of held-out data where a score can be made of those."""
    for loss, kind in _LOSS_FIGURES.items():
        if loss == "validation" and not can_score_held_out(part):
            continue
        summary = loss_summary(choose_loss(part, loss))
        if not summary.is_empty():
            title = f"Final {SCORED_LOSSES[loss].title} against learning rate"
            yield Drawn.of(loss_against_lr, summary, kind=kind, title=title, place=place, note=_LOSS_NOTE, loss=loss)


def _trace_figures(part: pl.DataFrame, traces: pl.DataFrame, place: str, subject: Subject) -> Iterator[Drawn]:
    """What is drawn against step, at the lr that tells methods apart in the scored loss."""
    workload = part["workload"][0]
    num_keys, names = subject.num_keys[workload], subject.layer_names.get(workload, ())
    chosen = choose_loss(part, subject.loss)
    if loss_summary(chosen).is_empty():
        return
    lr = telling_lr(chosen)
    where = f"at lr = {lr:g}, where methods differ most"
    traced, layers = trace_summary(part, traces, lr), layer_summary(part, traces, lr)
    heads = layer_summary(part, traces, lr, "least_head_entropy")
    shared: dict[str, Any] = {"place": place, "num_keys": num_keys}
    of_layers = {**shared, "names": names}
    if traced.height:
        note = f"{TRACE_NOTE}{_ENTROPY_NOTE if 'entropy' in set(traced['panel']) else ''}\n{diverged_sentence(traced)}"
        title = f"Training behaviour {where}"
        yield Drawn.of(training_behaviour, traced, kind="training_behaviour", title=title, note=note, **shared)
    if layers.height:
        title = f"Attention entropy of every layer {where}"
        yield Drawn.of(entropy_by_layer, layers, kind="entropy_by_layer", title=title, note=_LAYER_NOTE, **of_layers)
    if heads.height and ((layers["value"] - heads["value"]) > _ROUNDING).any():  # more than one head
        title = f"Attention entropy of every layer's least head {where}"
        yield Drawn.of(entropy_by_layer, heads, kind="entropy_by_head", title=title, note=_HEAD_NOTE, **of_layers)


def _edge_figures(part: pl.DataFrame, subject: Subject, place: str) -> Iterator[Drawn]:
    """Curvature over the edge of stability against step, at every lr."""
    summary = edge_summary(part, subject.traces(part["trial_id"].to_list(), EDGES))
    if summary.height:
        words = {"title": "Curvature over the edge of stability", "place": place, "note": _EDGE_NOTE}
        yield Drawn.of(curvature_over_edge, summary, kind="curvature_over_edge", **words)


def diverged_figures(results: pl.DataFrame) -> Iterator[Drawn]:
    """How and when every trial ended, by `parts`; none where all completed."""
    for place, part in parts(results):
        cells = diverged_map(part)
        if (cells["state"] != COMPLETED).any():
            words = {"title": "How each trial ended, by learning rate and seed", "place": place, "note": _MAP_NOTE}
            yield Drawn.of(diverged_map_chart, cells, kind="diverged_map", **words)


def explored_charts(subject: Subject) -> list[tuple[str, dict[str, Any]]]:
    """Caption and specification of the explore page's charts, by `parts`; none where traces are not all read."""
    if not subject.is_measured or subject.trace_lots is no_traces:
        return []
    charts, every = [], list(parts(subject.scored))
    for place, part in every:
        lots = subject.trace_lots(part["trial_id"].to_list(), None)
        explorer = explored(part, lots, max_values=MAX_VALUES // len(every))
        if explorer is not None:
            summary = loss_summary(part)
            lr = "all" if summary.is_empty() else lr_text(telling_lr(part))
            caption = f"Traces of every trial: {place}"
            names = subject.layer_names.get(part["workload"][0], ())
            charts.append((caption, explore_spec(explorer, lr=lr, caption=caption, layer_names=names)))
    return charts


def parts(results: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The results of one workload, optimizer and setting of the other knobs, METHODS_PER_FIGURE at most at a time."""
    for key, group in with_knobs(results).sort(*ENTRY).group_by("workload", "optimizer", "knobs", maintain_order=True):
        place = label_of(key)
        for part in few_methods(group):
            yield place, part.drop("knobs")


def few_methods(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of METHODS_PER_FIGURE methods at most at a time."""
    methods = rows["method"].unique().sort().to_list()
    for start in range(0, len(methods), METHODS_PER_FIGURE):
        yield rows.filter(pl.col("method").is_in(methods[start : start + METHODS_PER_FIGURE]))
