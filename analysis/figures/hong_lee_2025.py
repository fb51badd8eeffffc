"""The figures of Hong & Lee 2025 from any suite's data: which each is, what it needs, and its words. Writes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import polars as pl

from analysis.figures import attention, theory_charts
from analysis.figures.frames import inspected, theory
from analysis.figures.frames.aggregate import layer_summary, loss_summary, trace_summary
from analysis.figures.frames.inspected import Inspection
from analysis.figures.lr_loss import loss_against_lr
from analysis.figures.of_a_suite import TRACE_NOTE
from analysis.figures.style.chart_style import Chart
from analysis.figures.style.diverged_words import diverged_sentence
from analysis.figures.traces import training_behaviour
from analysis.text import entry_name

Family = Literal["regression", "llama", "gpt", "other"]  # what the paper trains, or none of it

# Methods by their names without parameters. Fig. 1 leaves the methods of Fig. 5 and the other treatments of gamma out.
FIGURE_5 = ("elu_kernel", "sigmoid_kernel", "sigma_reparam_qk", "sigma_reparam")
MAIN_TREATMENT = "qk_layernorm_weight_clipped"
TREATMENTS = ("qk_layernorm_free", "qk_layernorm_gradient_clipped", MAIN_TREATMENT, "qk_layernorm_fixed")
_INSPECTED_NOTE = "One run; × where it diverged"


@dataclass(frozen=True, kw_only=True)
class Material:
    """What figures are drawn of: one workload, optimizer and setting of the other knobs.

    results: RESULT_COLUMNS. traces: TRACE_COLUMNS and trial_id, at `lr` (of every method) and all seeds. inspection: at
    `lr` and one seed, None where no run was looked into, `not_inspected` why.
    """

    place: str
    family: Family
    num_keys: int
    lr: float
    results: pl.DataFrame
    traces: pl.DataFrame
    inspection: Inspection | None
    not_inspected: str = "no run was looked into"


@dataclass(frozen=True, kw_only=True)
class PaperChart:
    """One chart and the frame that it draws. part: which of a figure's several charts, "" for the only one."""

    chart: Chart
    data: pl.DataFrame
    part: str = ""


Charts = list[PaperChart] | str  # the charts, or why there is nothing to draw


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """stem: of file names. is_inspected: whether it needs a look inside a run."""

    stem: str
    draw: Callable[[Material], Charts]
    is_inspected: bool = False


@dataclass(frozen=True, kw_only=True)
class TheoryFigure:
    """stem: of file names. Drawn of random numbers alone."""

    stem: str
    draw: Callable[[], PaperChart]


def _figure_3() -> PaperChart:
    histograms, entropies = theory.weight_histograms(), theory.entropy_against_std()
    chart = theory_charts.weights_and_entropy(histograms, entropies, num_keys=theory.NUM_KEYS, width=theory.WIDTH)
    return PaperChart(chart=chart, data=pl.concat([histograms, entropies], how="diagonal"))


def _figure_10() -> PaperChart:
    rows = theory.dirichlet_rows()
    return PaperChart(chart=theory_charts.entropy_against_norm(rows, num_keys=theory.NUM_KEYS), data=rows)


def _training(material: Material, methods: Collection[str], what: str) -> Charts:
    summary = trace_summary(_of(material.results, methods), material.traces, material.lr)
    if summary.is_empty():
        return f"no traces at lr = {material.lr:g} of {', '.join(methods) or 'any method'}"
    title = f"{what} at lr = {material.lr:g}"
    has_entropy = "entropy" in set(summary["panel"])
    note = TRACE_NOTE + ("\nEntropy band: standard deviation over layers" if has_entropy else "")
    subtitle = f"{material.place}\n{note}\n{diverged_sentence(summary)}"
    chart = training_behaviour(summary, num_keys=material.num_keys, title=title, subtitle=subtitle)
    return [PaperChart(chart=chart, data=summary)]


def _main_methods(material: Material) -> list[str]:
    """The methods of Fig. 1; all where that leaves none."""
    methods = _methods(material)
    others = set(TREATMENTS) - {MAIN_TREATMENT} if MAIN_TREATMENT in map(entry_name, methods) else set()
    return [name for name in methods if entry_name(name) not in {*FIGURE_5, *others}] or methods


def _figure_1(material: Material) -> Charts:
    if material.family == "gpt":
        return "the suite trains a GPT: its training is Fig. 7"
    return _training(material, _main_methods(material), "Training behaviour")


def _figure_7(material: Material) -> Charts:
    if material.family != "gpt":
        return "Fig. 7 is Fig. 1 of a GPT-2 and the suite trains none; gpt2_200 does"
    return _training(material, _main_methods(material), "Training behaviour of a GPT-2")


def _figure_5(material: Material) -> Charts:
    methods = [name for name in _methods(material) if entry_name(name) in FIGURE_5]
    if not methods:
        return f"the suite has none of {', '.join(FIGURE_5)}"
    return _training(material, methods, "Training behaviour of kernels and sigma-reparam")


def _loss(material: Material) -> Charts:
    summary = loss_summary(material.results)
    if summary["lr"].n_unique() < 2:
        return "there are results at one learning rate alone"
    note = (
        "Line: mean over seeds; bar: least to largest seed; ×: at least one seed diverged or blew up, counts as its "
        "loss at init"
    )
    chart = loss_against_lr(summary, title="Final loss against learning rate", subtitle=f"{material.place}\n{note}")
    return [PaperChart(chart=chart, data=summary)]


def _figure_2(material: Material) -> Charts:
    if material.family in ("llama", "gpt"):
        return "the suite trains a language model: its losses are Fig. 6"
    return _loss(material)


def _figure_6(material: Material) -> Charts:
    if material.family not in ("llama", "gpt"):
        return "Fig. 6 is Fig. 2 of a language model and the suite trains none; lm_small does"
    return _loss(material)


def _figure_4(material: Material) -> Charts:
    points = inspected.variance_and_entropy(material.results, material.traces, material.lr, material.num_keys)
    if points.is_empty():
        return f"no logit variances were traced at lr = {material.lr:g}"
    curves = [
        theory.gaussian_curve(round(math.exp(rows["most_entropy"][0]))).with_columns(method=pl.lit(rows["method"][0]))
        for rows in points.partition_by("method", maintain_order=True)
    ]
    chart = attention.variance_against_entropy(
        points,
        pl.concat(curves),
        title=f"Logit variance against normalised entropy in training at lr = {material.lr:g}",
        subtitle=f"{material.place}\nA dot a layer and step, mean over seeds; dashed: softmax of Gaussian logits of as "
        f"many keys as a row sees (N = {material.num_keys}, or their geometric mean over rows)\n"
        "largest H: of rows uniform over the keys that they see",
    )
    return [PaperChart(chart=chart, data=points)]


def _figure_8(material: Material) -> Charts:
    if material.inspection is None:
        return material.not_inspected
    summary = inspected.gamma_summary(material.inspection)
    if summary.is_empty():
        return "no method of the suite has gammas"
    chart = attention.gammas_by_layer(
        summary,
        title=f"Gammas of every layer in training at lr = {material.lr:g}",
        subtitle=f"{material.place}, seed {material.inspection.seed}\n{_INSPECTED_NOTE}"
        + _parted(material.inspection, summary),
    )
    return [PaperChart(chart=chart, data=summary)]


def _figure_9(material: Material) -> Charts:
    methods = [name for name in _methods(material) if entry_name(name) in TREATMENTS]
    if not methods:
        return f"the suite has none of {', '.join(TREATMENTS)}"
    results = _of(material.results, methods)
    quantities = ("logit_variance", "entropy")
    summary = pl.concat(
        layer_summary(results, material.traces, material.lr, quantity).with_columns(quantity=pl.lit(quantity))
        for quantity in quantities
    )
    if summary.is_empty():
        return f"no traces at lr = {material.lr:g} of {', '.join(methods)}"
    chart = attention.variance_and_entropy_by_layer(
        summary,
        num_keys=material.num_keys,
        title=f"Logit variance and entropy of every layer under treatments of gamma at lr = {material.lr:g}",
        subtitle=f"{material.place}\n{TRACE_NOTE}",
    )
    return [PaperChart(chart=chart, data=summary)]


def _figure_11(material: Material) -> Charts:
    seen = material.inspection
    if seen is None or not seen.snapshots:
        return material.not_inspected
    layer, last = inspected.most_collapsed(seen), seen.snapshots[0].p_ASHQK.shape[0] - 1
    drawn: list[PaperChart] = []
    for sequence in range(seen.snapshots[0].p_ASHQK.shape[1]):
        summary = inspected.heat_map_summary(seen, sequence=sequence, layer=layer, head=0)
        chart = attention.heat_maps(
            summary,
            title=f"Attention weights in training at lr = {material.lr:g}: layer {layer} of 0 to {last}, head 0",
            subtitle=f"{material.place}, seed {seen.seed}, sequence {sequence} of the probed batch of each step\n"
            "The layer has the least entropy at the end, over methods; the last step is before a divergence"
            f"{_averaged(summary)}{_parted(seen, summary)}",
        )
        drawn.append(PaperChart(chart=chart, data=summary, part=f"sequence_{sequence}"))
    return drawn


def _rows(material: Material) -> Charts:
    if material.inspection is None:
        return material.not_inspected
    summary = inspected.histogram_summary(material.inspection)
    chart = attention.rows_in_training(
        summary,
        num_keys=material.num_keys,
        title=f"Weights and row entropies of attention in training at lr = {material.lr:g}",
        subtitle=f"{material.place}, seed {material.inspection.seed}\nPositive weights of the probed batch, layers "
        "averaged; the first and last bins hold what lies beyond" + _parted(material.inspection, summary),
    )
    return [PaperChart(chart=chart, data=summary)]


def _averaged(summary: pl.DataFrame) -> str:
    size = summary["size"][0]
    return "" if size == 1 else f"; a cell is the mean of {size} x {size} weights"


def _parted(seen: Inspection, summary: pl.DataFrame) -> str:
    """A line on the methods drawn whose run is not the stored one to its end; "" if there are none."""
    methods = set(summary["method"])
    parted = [f"{method} from step {step:,}" for method, step in seen.parted.items() if method in methods]
    return f"\nOther losses than the run scored: {', '.join(parted)}" if parted else ""


def _methods(material: Material) -> list[str]:
    return material.results["method"].unique().sort().to_list()


def _of(results: pl.DataFrame, methods: Collection[str]) -> pl.DataFrame:
    return results.filter(pl.col("method").is_in(list(methods)))


# By what `bench figures --only` calls them: the paper's numbers, and ours. That Fig. 2 is of regression and Fig. 6 of
# language models is how we read it: both are final loss against lr.
FIGURES: dict[str, PaperFigure] = {
    "1": PaperFigure(stem="figure_01_training", draw=_figure_1),
    "2": PaperFigure(stem="figure_02_loss_against_lr", draw=_figure_2),
    "4": PaperFigure(stem="figure_04_variance_against_entropy", draw=_figure_4),
    "5": PaperFigure(stem="figure_05_training", draw=_figure_5),
    "6": PaperFigure(stem="figure_06_loss_against_lr", draw=_figure_6),
    "7": PaperFigure(stem="figure_07_training", draw=_figure_7),
    "8": PaperFigure(stem="figure_08_gammas", draw=_figure_8, is_inspected=True),
    "9": PaperFigure(stem="figure_09_variance_and_entropy", draw=_figure_9),
    "11": PaperFigure(stem="figure_11_attention", draw=_figure_11, is_inspected=True),
    "rows": PaperFigure(stem="rows_in_training", draw=_rows, is_inspected=True),
}
THEORY_FIGURES: dict[str, TheoryFigure] = {
    "3": TheoryFigure(stem="figure_03_weights_and_entropy", draw=_figure_3),
    "10": TheoryFigure(stem="figure_10_entropy_against_norm", draw=_figure_10),
}
