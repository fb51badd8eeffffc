"""A bundle shows every kind of figure that a report does, each at its width, none taller than a page has room for."""

import ast
import re
from pathlib import Path

import polars as pl
import pytest

from analysis import report
from analysis.figures.frames.diverged_map import diverged_map
from analysis.figures.of_a_suite import diverged_figures
from analysis.figures.style.columns import COLUMN_INCHES, PAGE_INCHES, POINTS_PER_INCH
from analysis.paper.figures import COLUMN_KINDS, MOST_INCHES, PARTS, bundle_figures, save_figures
from analysis.report.grid_report import _FIGURE_CHAPTERS
from analysis.report.sections import report_sections
from analysis.scores.causes.effects import PAIR_COLUMNS
from tests.analysis.synthetic_results import METHODS, frame, results, row, subject, traces, with_held_out

KEYS = {"in_context_regression": 21}


def whole_suite(methods=("softmax", "relu_kernel"), optimizers=("adamw", "sgd"), lrs=(0.1, 1.0), decays=(0.0, 0.1)):
    """One of everything: two knobs, several optimizers, held-out data, and divergence at the largest lr."""
    rows = [
        row(method, lr, seed, float("inf") if lr == lrs[-1] else 1 + lr + decay + seed / 10 + place,
            optimizer=optimizer, weight_decay=decay)
        for place, method in enumerate(methods) for optimizer in optimizers for lr in lrs for decay in decays
        for seed in (0, 1)
    ]  # fmt: skip
    return with_held_out(frame(rows))


def with_more(traced):
    """The traces with a head of half the layer's entropy, and with curvature over the edge."""
    is_least = pl.col("quantity") == "least_head_entropy"
    curvature = traced.filter(quantity="loss").with_columns(quantity=pl.lit("edge_ratio"))
    return pl.concat(
        [traced.with_columns(value=pl.when(is_least).then(pl.col("value") / 2).otherwise("value")), curvature]
    )


def told_of(data, traced=None):
    more = {} if traced is None else {"num_keys": KEYS, "is_measured": True}
    return report_sections(subject(data, traced, intervened=data, pairs=pairs_of(data), **more))


def pairs_of(data):
    """As if the trials of the second method were those of the first with an intervention."""
    twins, *others = data.sort("method").partition_by("method", maintain_order=True)
    ids = [pair for own in others for pair in zip(own["trial_id"], twins["trial_id"], strict=True)]
    what = {"intervention": "temperature", "strength": 0.1, "from_step": 3, "end_step": None}
    return pl.DataFrame([{"trial_id": one, "twin_id": twin, **what} for one, twin in ids], schema=PAIR_COLUMNS)


def declared_kinds():
    """How the kinds of all figures begin that the code of reports draws; searches have no bundle, boxes their own."""
    kinds = set(_FIGURE_CHAPTERS)
    for path in Path(report.__file__).parent.glob("*.py"):
        if path.name.startswith(("search", "box")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Drawn", "Drawn.of", "each_drawn"):
                (value,) = [keyword.value for keyword in node.keywords if keyword.arg == "kind"]
                start = value.values[0] if isinstance(value, ast.JoinedStr) else value
                kinds |= {str(start.value)} if isinstance(start, ast.Constant) else set()
    return kinds


def drawn_alone(tmp_path, drawn):
    """What is saved of the figure, with the size of each SVG in inches."""
    saved = save_figures([drawn], tmp_path / "figures")
    texts = [(tmp_path / "figures" / f"{one.name}.svg").read_text() for one in saved]
    found = [re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text) for text in texts]
    return saved, [tuple(float(size) / POINTS_PER_INCH for size in one.groups()) for one in found if one is not None]


def test_every_kind_of_figure_of_a_report_is_drawn_and_none_beside():
    data = whole_suite()
    traced = with_more(traces(data.filter(optimizer="sgd", weight_decay=0.0)))
    drawn = {one.kind for one in bundle_figures(subject(data, traced, num_keys=KEYS), told_of(data, traced))}
    declared = declared_kinds()
    assert {"diverged_map", "optimizer_matrix", "joint_map_", "val_loss_against_lr"} <= declared
    assert [kind for kind in declared if not any(one.startswith(kind) for one in drawn)] == []
    assert [one for one in drawn if not any(one.startswith(kind) for kind in declared)] == []


def test_what_is_said_of_kinds_is_of_kinds_that_there_are():
    kinds = declared_kinds()
    assert kinds >= COLUMN_KINDS
    assert all(any(kind.startswith(one) for one in kinds) for kind in PARTS)


def test_widths_are_those_of_a_column_and_of_a_page(tmp_path):
    data = whole_suite(methods=("softmax",), optimizers=("sgd",), decays=(0.0,))
    drawn = bundle_figures(subject(data, num_keys=KEYS), told_of(data))
    saved = save_figures(drawn, tmp_path / "figures")
    assert {one.name: one.inches for one in saved} == {
        "loss_against_lr": COLUMN_INCHES,
        "val_loss_against_lr": COLUMN_INCHES,
        "diverged_map": PAGE_INCHES,
    }
    for one in saved:
        assert pl.read_csv(tmp_path / "figures" / f"{one.name}.csv").height == one.drawn.summary.height > 0


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("diverged_map", marks=pytest.mark.slow),
        pytest.param("joint_map_weight_decay", marks=pytest.mark.slow),
        "optimizer_matrix",
    ],
)
def test_what_is_too_large_for_a_page_goes_on_in_further_figures_and_loses_nothing(tmp_path, kind):
    if kind == "diverged_map":
        methods = {f"{name}_{copy}": shape for copy in (0, 1) for name, shape in METHODS.items()}
        (drawn,) = diverged_figures(results(num_seeds=5, methods=methods))
    else:
        many = {
            "joint_map_weight_decay": {"methods": [f"method_{place}" for place in range(9)], "optimizers": ["sgd"]},
            "optimizer_matrix": {"optimizers": [f"optimizer_{place}" for place in range(8)], "decays": [0.0]},
        }
        lrs = [0.001 * 1.5**place for place in range(15 if kind == "joint_map_weight_decay" else 3)]
        told = told_of(whole_suite(**many[kind], lrs=lrs))
        (drawn,) = [one for part in told for one in part.figures if one.kind == kind]
    before = drawn.chart.to_dict()
    saved, sizes = drawn_alone(tmp_path, drawn)
    assert len(saved) > 1
    assert all(width == pytest.approx(PAGE_INCHES, abs=1e-3) and height <= MOST_INCHES for width, height in sizes)
    assert [one.name for one in saved] == [kind, *(f"{kind}-{place}" for place in range(2, len(saved) + 1))]
    column = "optimizer" if kind == "optimizer_matrix" else "method"
    together = [name for one in saved for name in one.drawn.summary[column].unique().sort()]
    assert together == drawn.summary[column].unique().sort().to_list()
    assert sum(one.drawn.summary.height for one in saved) == drawn.summary.height
    for one in saved:
        text = (tmp_path / "figures" / f"{one.name}.svg").read_text()
        assert all(f">{name}<" in text for name in one.drawn.summary[column].unique())
    assert saved[0].drawn.title == f"{drawn.title}, part 1 of {len(saved)}"
    assert drawn.chart.to_dict() == before


def test_a_map_of_few_methods_takes_as_many_columns_as_there_is_room_for(tmp_path):
    few = {name: METHODS[name] for name in ("softmax", "relu_kernel", "elu_kernel")}
    (drawn,) = diverged_figures(results(num_seeds=3, methods=few))
    saved, ((width, height),) = drawn_alone(tmp_path, drawn)
    assert len(saved) == 1
    assert width == pytest.approx(PAGE_INCHES, abs=1e-3)
    assert height < MOST_INCHES / 2
    assert diverged_map(results(num_seeds=3, methods=few)).height == saved[0].drawn.summary.height
