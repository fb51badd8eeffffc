"""Every interval keeps to what its score can be and holds the value: random tables of trials, the whole registry."""

import math

import numpy as np
import polars as pl
import pytest

from analysis.scores.definition import Extent
from analysis.scores.generalisation import HELD_OUT_SCORES
from analysis.scores.joint_maps import stable_area
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.knobs import KNOB_SCORES, knob_sensitivity, lr_transfer
from analysis.scores.leaderboard import HELD_OUT_MEASURES, leaderboard
from analysis.scores.registry import REGISTRY
from analysis.scores.table import score_differences, score_table
from tests.analysis.scored_results import scored_entries
from tests.analysis.synthetic_results import TRACE_SCHEMA, frame, row

ALL_LRS = (3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)
NUM_STEPS, NUM_LAYERS, WALL_S = 400, 3, 7.0
TABLES = range(12)


def random_trials(rng: np.random.Generator) -> pl.DataFrame:
    """Trials of two methods, some diverged, blown up or lost; in some tables two values of another knob."""
    lrs = sorted(rng.choice(ALL_LRS, size=rng.integers(2, 7), replace=False).tolist())
    seeds, warmups = range(rng.integers(2, 5)), (0.0, 10.0)[: 1 + int(rng.random() < 0.4)]
    scale = 10 ** rng.uniform(-2, 0)
    rows = []
    for method in ("a", "b"):
        cliff = rng.uniform(-3, 0)
        for lr in lrs:
            for seed in seeds:
                for warmup in warmups:
                    loss = abs(0.02 + scale * rng.standard_normal())
                    beyond = math.log10(lr) > cliff + 0.5 * rng.standard_normal()
                    loss = rng.choice([math.inf, 4 + 1000 * rng.random(), 3.0]) if beyond else loss
                    found = None if rng.random() < 0.05 else float(loss)
                    rows.append(row(method, lr, seed, found, warmup_steps=warmup, num_steps=NUM_STEPS, wall_s=WALL_S))
    return with_measures(frame(rows), rng)


def with_measures(trials: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The trials as if there were held-out data: accuracies near 1 and 0, losses near 0."""
    count, completed = trials.height, pl.col("outcome") == "completed"
    near_one = pl.Series(1 - rng.beta(0.3, 4, count))
    return trials.with_columns(
        initial_val_loss=pl.lit(4.0),
        val_loss=pl.when(completed).then(pl.Series(rng.exponential(0.1, count))).otherwise(math.inf),
        least_val_loss=pl.when(completed).then(pl.Series(rng.exponential(0.05, count))).otherwise(math.inf),
        least_val_loss_step=pl.when(completed).then(pl.Series(100.0 * rng.integers(0, 5, count))),
        val_accuracy=pl.when(completed).then(near_one),
        val_calibration_error=pl.when(completed).then(pl.Series(rng.beta(0.3, 9, count))),
    )


def random_traces(trials: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    rows = []
    for trial_id in trials.filter(pl.col("outcome").is_in(["completed", "diverged"]))["trial_id"]:
        falls, low = rng.uniform(0, 30), rng.choice([0.01, 0.3, 0.999])
        for place in range(40):
            step, rest = 10 * place, math.exp(-place / 40 * falls)
            spike = 50.0 if rng.random() < 0.02 else 1.0
            rows.append(
                (trial_id, step, "loss", -1, float((0.02 + 4 * rest) * spike * math.exp(0.02 * rng.standard_normal())))
            )
            for layer in range(NUM_LAYERS):
                mean = low + (1 - low) * rest
                rows += [
                    (trial_id, step, "entropy", layer, 3.0 * mean),
                    (trial_id, step, "least_head_entropy", layer, 3.0 * mean * float(rng.choice([1.0, 0.05]))),
                    (trial_id, step, "uniform_entropy", layer, 3.0),
                ]
    return pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row")


def keeps_to(low: float | None, value: float | None, high: float | None, domain: tuple[float, float]) -> bool:
    if value is None or low is None or high is None:
        return low is None and high is None
    room = 1e-9 * max(1.0, abs(value))
    return domain[0] - room <= low <= value <= high <= domain[1] + room


@pytest.fixture(params=TABLES)
def trials(request) -> pl.DataFrame:
    return random_trials(np.random.default_rng(request.param))


def one_warmup(trials: pl.DataFrame) -> pl.DataFrame:
    return trials.filter(warmup_steps=0.0)


def test_scores_of_the_table(trials):
    data = one_warmup(trials)
    entries = scored_entries(data, random_traces(data, np.random.default_rng(7)), 21, "train")
    extents = {entry.key[1]: entry.extent for entry in entries}
    lrs = data["lr"].min(), data["lr"].max()
    found = score_table(entries, "train")
    assert found["ci_low"].is_not_null().sum() > 20
    for line in found.iter_rows(named=True):
        kind, ends = SCORE_KINDS[line["score"]], (line["ci_low"], line["value"], line["ci_high"])
        assert keeps_to(*ends, kind.domain(extents[line["method"]])), line
        by_unit = {
            "share": (0, 1), "lr": lrs, "decades": (0, math.log10(lrs[1] / lrs[0])), "steps": (0, NUM_STEPS),
            "s": (0, WALL_S), "layers": (0, NUM_LAYERS - 1), "loss": (0, math.inf),
        }  # fmt: skip
        assert keeps_to(*ends, by_unit[line["unit"]]), line


def test_differences_of_the_table(trials):
    data = one_warmup(trials)
    entries = scored_entries(data, random_traces(data, np.random.default_rng(8)), 21, "train")
    extents = {entry.key[1]: entry.extent for entry in entries}
    decades = math.log10(data["lr"].max() / data["lr"].min())
    for score, kind in SCORE_KINDS.items():
        for line in score_differences(entries, score).iter_rows(named=True):
            ends = line["ci_low"], line["difference"], line["ci_high"]
            assert keeps_to(*ends, kind.difference_domain(extents["a"], extents["b"])), (score, line)
            by_unit = {"share": 1, "decades": decades, "steps": NUM_STEPS, "s": WALL_S, "layers": NUM_LAYERS - 1}
            most = by_unit.get(line["unit"], math.inf)
            assert keeps_to(*ends, (-most, most)), (score, line)


def test_the_board_and_its_held_out_measures(trials):
    board = leaderboard(one_warmup(trials))
    for line in board.iter_rows(named=True):
        assert keeps_to(line["ci_low"], line["lr_sensitivity"], line["ci_high"], (0, math.inf)), line
        for name, definition in HELD_OUT_SCORES.items():
            ends = line[f"{name}_ci_low"], line[name], line[f"{name}_ci_high"]
            assert keeps_to(*ends, definition.domain(Extent(num_steps=NUM_STEPS))), (name, line)
    assert {f"{name}_ci_low" for name in HELD_OUT_SCORES} <= HELD_OUT_MEASURES.keys()


def test_scores_of_knobs(trials):
    if trials["warmup_steps"].n_unique() < 2:
        trials = pl.concat([trials, trials.with_columns(warmup_steps=10.0, trial_id=pl.col("trial_id") + "w")])
    decades = math.log10(trials["lr"].max() / trials["lr"].min())
    for line in knob_sensitivity(trials, "warmup_steps").iter_rows(named=True):
        assert keeps_to(line["ci_low"], line["sensitivity"], line["ci_high"], KNOB_SCORES["sensitivity"].bounds)
        ends = line["at_best_lr_ci_low"], line["at_best_lr"], line["at_best_lr_ci_high"]
        assert keeps_to(*ends, KNOB_SCORES["at_best_lr"].bounds)
    for line in lr_transfer(trials, "warmup_steps").iter_rows(named=True):
        rates = line["best_lr_ci_low"], line["best_lr"], line["best_lr_ci_high"]
        assert keeps_to(*rates, (trials["lr"].min(), trials["lr"].max())), line
        shift = line["shift_ci_low"], line["shift_decades"], line["shift_ci_high"]
        assert keeps_to(*shift, (-decades, decades)), line
        assert keeps_to(line["loss_lost_ci_low"], line["loss_lost"], line["loss_lost_ci_high"], (0, math.inf)), line
    for line in stable_area(trials, "warmup_steps", "lr").iter_rows(named=True):
        most = line["stable_area"] / line["stable_share"] if line["stable_share"] else math.inf
        assert keeps_to(line["ci_low"], line["stable_area"], line["ci_high"], (0, most)), line


def test_what_an_entry_allows_lies_within_what_its_score_may_ever_be():
    extent = Extent(lrs=(1e-3, 0.1), num_steps=100, seconds=3.0, last_layer=4, least_loss=0.0, area=2.0)
    for name, definition in REGISTRY.items():
        low, high = definition.domain(extent)
        assert definition.bounds[0] <= low < high <= definition.bounds[1], name
        least, largest = definition.difference_domain(extent, extent)
        assert least == -largest < 0, name


def test_a_difference_of_rates_is_in_decades():
    kind = SCORE_KINDS["best_lr"]
    found = kind.difference_domain(Extent(lrs=(1e-3, 0.1)), Extent(lrs=(1e-2, 1.0)))
    assert found == pytest.approx((-3.0, 1.0))
    assert kind.difference_domain(Extent(), Extent()) == (-math.inf, math.inf)
