"""What traces say about trials, by hand: spikes, steps to a target, collapse; a scan gives what a frame does."""

import math

import numpy as np
import polars as pl
import pytest

from analysis.scores.traces import MEASURES, TRIAL_COLUMNS, lot_measures, trial_measures
from tests.analysis.synthetic_results import TRACE_SCHEMA, results, traces

LOG_KEYS = math.log(21)


def losses(values: list[float], trial_id: str = "a", every: int = 1) -> pl.DataFrame:
    rows = [(trial_id, every * place, "loss", -1, value) for place, value in enumerate(values)]
    return pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row")


def entropies(rows: list[tuple[int, int, float]], trial_id: str = "a") -> pl.DataFrame:
    """Rows of step, layer, share of log N."""
    full = [(trial_id, step, "entropy", layer, share * LOG_KEYS) for step, layer, share in rows]
    return pl.DataFrame(full, schema=TRACE_SCHEMA, orient="row")


def measured(trace: pl.DataFrame | pl.LazyFrame, *, target: float | None = 1.0, log_keys: float | None = LOG_KEYS):
    trials = pl.DataFrame([("a", 4.0, target, log_keys)], schema=TRIAL_COLUMNS, orient="row")
    return trial_measures(trace, trials).row(0, named=True)


def test_one_jump_is_one_spike():
    # 40 losses with deviation 0.1 in log, then one e times as large; 21 losses have 20 before them.
    calm = [math.exp(0.1 * (-1) ** place) for place in range(40)]
    assert measured(losses([*calm, math.e]))["spike_share"] == pytest.approx(1 / 21)
    assert measured(losses([*calm, math.exp(0.5)]))["spike_share"] == 0.0  # five deviations
    assert measured(losses([*calm, math.exp(-1)]))["spike_share"] == 0.0  # downwards


def test_spikes_do_not_depend_on_the_unit_of_the_loss():
    values = np.exp(0.1 * np.random.default_rng(0).standard_normal(300))
    values[[100, 200]] *= 10
    shares = {measured(losses((factor * values).tolist()))["spike_share"] for factor in (1e-6, 1.0, 1e6)}
    assert shares == {2 / 280}


def test_a_huge_loss_does_not_hide_later_spikes_once_the_window_has_passed():
    calm = [math.exp(0.1 * (-1) ** place) for place in range(150)]
    found = measured(losses([*calm, 1e30, *calm, math.e]))["spike_share"]
    assert found == pytest.approx(2 / (302 - 20))


def test_a_constant_loss_and_its_rounding_are_no_spikes():
    assert measured(losses([1.0] * 50))["spike_share"] == 0.0
    assert measured(losses([1.0] * 50 + [1.0005]))["spike_share"] == 0.0
    assert measured(losses([0.0] * 50))["spike_share"] == 0.0


def test_too_few_losses_are_not_judged():
    assert measured(losses([1.0] * 20))["spike_share"] is None
    assert measured(losses([1.0] * 20 + [9.0]))["spike_share"] == 1.0


CALM = [1 + 0.01 * (-1) ** place for place in range(40)]  # median 1, deviations 0.01


@pytest.mark.parametrize(
    ("after", "has_recovered"),
    [
        ([1.2, 1.2, 1.2, 1.0], 1.0),
        ([1.2, 1.2, 1.0], 0.0),  # two in a row are noise
        ([1.2, 1.2, 1.2, 1.2], 0.0),  # never back
        ([1.05, 1.05, 1.05, 1.0], 0.0),  # five deviations
        ([0.5, 0.5, 0.5, 1.0], 0.0),  # downwards
        ([1.2] * 60 + [1.0], 1.0),  # the median has moved meanwhile
    ],
)
def test_a_spike_that_came_back_is_three_losses_above_the_median(after, has_recovered):
    assert measured(losses([*CALM, *after]))["has_recovered_spike"] == has_recovered


def test_what_comes_back_after_two_thousand_steps_is_no_recovery():
    assert measured(losses([*CALM, *[1.2] * 20, 1.0], every=100))["has_recovered_spike"] == 1.0
    assert measured(losses([*CALM, *[1.2] * 21, 1.0], every=100))["has_recovered_spike"] == 0.0
    assert measured(losses([1.0] * 15))["has_recovered_spike"] is None


def test_target_is_reached_by_the_mean_of_the_last_ten():
    # Ten losses of 2, then 0.5: after k of them the mean is (20 - 1.5 k) / 10 <= 1 from k = 7 on, the 17th loss.
    assert measured(losses([2.0] * 10 + [0.5] * 20, every=5))["target_step"] == 16 * 5
    assert measured(losses([2.0] * 10 + [0.5] * 6))["target_step"] is None
    assert measured(losses([2.0] * 10 + [0.5] * 20), target=None)["target_step"] is None


def test_losses_are_clipped_at_init_on_the_way_to_the_target():
    # A loss of 1e30 counts as the loss at init, 4: with seven of 0.5 the mean is 7.5 / 8, with six 1.
    assert measured(losses([1e30] + [0.5] * 9), target=0.95)["target_step"] == 7


def test_first_layer_to_collapse():
    rows = [(0, 0, 1.0), (0, 1, 0.9), (5, 0, 0.5), (5, 1, 0.11), (10, 1, 0.099), (10, 0, 0.2), (15, 0, 0.01)]
    found = measured(entropies(rows))
    assert (found["collapse_step"], found["collapse_layer"]) == (10, 1)
    assert found["lowest_entropy"] == pytest.approx(0.01)
    assert found["has_loss"] is False
    both = measured(entropies([(3, 4, 0.05), (3, 2, 0.05)]))
    assert (both["collapse_step"], both["collapse_layer"]) == (3, 2)  # the lower of two layers


def quantity(name: str, rows: list[tuple[int, int, float]]) -> pl.DataFrame:
    """Rows of step, layer, nats."""
    return pl.DataFrame([("a", step, name, layer, nats) for step, layer, nats in rows], TRACE_SCHEMA, orient="row")


def test_entropy_is_a_share_of_that_of_uniform_rows():
    """A causal window of 1 over 1,024 keys: uniform rows have 0.69 nats, 10% of log 1,024, and are not collapsed."""
    uniform = 1023 / 1024 * math.log(2)
    rows, log_keys = quantity("entropy", [(0, 0, uniform), (5, 0, 0.5 * uniform)]), math.log(1024)
    found = measured(pl.concat([rows, quantity("uniform_entropy", [(0, 0, uniform)])]), log_keys=log_keys)
    assert found["lowest_entropy"] == pytest.approx(0.5)
    assert (found["collapse_step"], found["assumes_log_n"]) == (None, False)
    old = measured(rows, log_keys=log_keys)
    assert (old["collapse_step"], old["assumes_log_n"]) == (0, True)


def test_each_layer_has_its_own_most_and_no_number_of_keys_is_needed_then():
    rows = quantity("entropy", [(0, 0, 1.0), (0, 1, 1.0), (9, 1, 0.15)])
    most = quantity("uniform_entropy", [(0, 0, 4.0), (9, 0, 4.0), (0, 1, 2.0), (9, 1, 2.0)])
    found = measured(pl.concat([rows, most]), log_keys=None)
    assert (found["lowest_entropy"], found["collapse_step"], found["collapse_layer"]) == (pytest.approx(0.075), 9, 1)


def test_batches_of_other_lengths_have_another_most():
    """Uniform rows of padded examples: a batch of short ones has less entropy, and none of it is lost."""
    entropy, most = [(0, 0, 4.5), (5, 0, 0.3), (10, 0, 3.0)], [(0, 0, 4.5), (5, 0, 0.3), (10, 0, 3.0)]
    found = measured(pl.concat([quantity("entropy", entropy), quantity("uniform_entropy", most)]))
    assert (found["lowest_entropy"], found["collapse_step"]) == (1.0, None)
    sharp = measured(pl.concat([quantity("entropy", [*entropy, (15, 0, 0.3)]), quantity("uniform_entropy", most)]))
    assert (sharp["lowest_entropy"], sharp["collapse_step"]) == (pytest.approx(0.3 / 4.5), 15)


def test_rows_that_see_one_key_each_have_nothing_to_lose():
    found = measured(pl.concat([quantity("entropy", [(0, 0, 0.0)]), quantity("uniform_entropy", [(0, 0, 0.0)])]))
    assert (found["lowest_entropy"], found["collapse_step"], found["assumes_log_n"]) == (None, None, None)


def test_a_head_that_collapses_is_told_apart_from_its_layer():
    mean = [(0, 0, 2.0), (5, 0, 1.9), (9, 0, 1.8)]
    least = [(0, 0, 1.9), (5, 0, 0.19), (9, 0, 0.1)]
    most = quantity("uniform_entropy", [(0, 0, 2.0)])
    found = measured(pl.concat([quantity("entropy", mean), quantity("least_head_entropy", least), most]))
    assert (found["collapse_step"], found["head_collapse_step"]) == (None, 5)
    assert found["lowest_entropy"] == pytest.approx(0.9)
    assert found["lowest_head_entropy"] == pytest.approx(0.05)


def test_what_does_not_collapse_or_has_no_entropy():
    found = measured(entropies([(0, 0, 0.5)]))
    assert (found["collapse_step"], found["collapse_layer"], found["lowest_entropy"]) == (
        None,
        None,
        pytest.approx(0.5),
    )
    assert measured(entropies([(0, 0, 0.05)]), log_keys=None)["lowest_entropy"] is None
    assert measured(losses([1.0] * 30))["collapse_step"] is None


def test_values_that_are_not_finite_are_left_out():
    trace = pl.concat([losses([2.0] * 30), losses([math.nan, math.inf], every=40), entropies([(1, 0, math.nan)])])
    assert measured(trace)["spike_share"] == 0.0
    assert measured(trace)["lowest_entropy"] is None


def test_a_trial_without_trace_has_a_row_of_nulls_and_a_stranger_none():
    trials = pl.DataFrame([("a", 4.0, 1.0, 3.0), ("b", 4.0, 1.0, 3.0)], schema=TRIAL_COLUMNS, orient="row")
    found = trial_measures(pl.concat([losses([1.0], "b"), losses([1.0], "c")]), trials)
    assert found["trial_id"].to_list() == ["a", "b"]
    assert found["has_loss"].to_list() == [False, True]
    assert found.schema == pl.Schema({"trial_id": pl.String, **MEASURES})


def test_order_of_rows_is_irrelevant_and_a_scan_gives_what_a_frame_does(tmp_path):
    suite = results(num_seeds=2).filter(pl.col("lr") == 0.1)
    is_most = pl.col("quantity") == "uniform_entropy"  # as if of eight times as many nats, so that some collapse
    trace = traces(suite).with_columns(value=pl.when(is_most).then(8 * pl.col("value")).otherwise("value"))
    trials = suite.select("trial_id", ceiling=4.0, target=1.5, log_keys=LOG_KEYS)
    expected = trial_measures(trace, trials)
    trace.sample(fraction=1, shuffle=True, seed=0).write_parquet(tmp_path / "traces.parquet", row_group_size=1000)
    assert trial_measures(pl.scan_parquet(tmp_path / "traces.parquet"), trials).equals(expected)
    assert expected["collapse_step"].is_not_null().any()
    assert expected["target_step"].is_not_null().any()


def test_lots_of_whole_trials_give_what_all_at_once_do():
    data = results(num_seeds=2, methods={"a": (-2.2, -0.9, 0.35)})
    all_traces, ids = traces(data), data["trial_id"].to_list()
    trials = pl.DataFrame([(one, 4.0, 1.0, LOG_KEYS) for one in ids], schema=TRIAL_COLUMNS, orient="row")
    lots = [all_traces.filter(pl.col("trial_id").is_in(ids[start : start + 5])) for start in range(0, len(ids), 5)]
    assert lot_measures(lots, trials).equals(trial_measures(all_traces, trials))
    assert lot_measures(lots[:1], trials)["trial_id"].to_list() == ids[:5]
    assert lot_measures([], trials).schema == trial_measures(all_traces, trials).schema
