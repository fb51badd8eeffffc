"""What moved between two sets of results: worked by hand, and against scipy's t-tests."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.across.difference import Moved, is_same_start, moved, of_workload
from analysis.curves import LossGrid
from analysis.scores.leaderboard import leaderboard
from analysis.tables.difference import diff_json, diff_markdown, manifest_differences, summary_lines
from bench.errors import UsageError
from tests.analysis.synthetic_results import frame, results, row

LRS = (0.1, 1.0)


def side(heights: dict[str, list[float]], *, initial: float = 4.0, **other: object) -> pl.DataFrame:
    """Methods with loss 1 at the lower lr and these losses, a seed each, at the higher: the score is (mean - 1) / 2."""
    rows = [
        row(method, lr, seed, loss, initial_loss=initial + 0.01 * seed, **other)
        for method, losses in heights.items()
        for seed, height in enumerate(losses)
        for lr, loss in zip(LRS, (1.0, height), strict=True)
    ]
    return frame(rows)


def only_entry(found: Moved) -> dict[str, object]:
    assert found.entries.height == 1
    return found.entries.row(0, named=True)


def test_a_paired_difference_is_students():
    a, b = [2.0, 2.2, 2.1, 1.9], [2.5, 2.8, 2.5, 2.5]
    entry = only_entry(moved(side({"m": a}), side({"m": b})))
    assert (entry["score_a"], entry["score_b"]) == pytest.approx((0.525, 0.7875))
    test = stats.ttest_rel(b, a)
    low, high = test.confidence_interval(0.95)
    assert entry["difference"] == pytest.approx(0.2625)
    assert (entry["ci_low"], entry["ci_high"]) == pytest.approx((low / 2, high / 2))
    assert entry["p_value"] == pytest.approx(test.pvalue)
    assert (entry["verdict"], entry["compared"]) == ("higher", "paired by seed")
    assert only_entry(moved(side({"m": b}), side({"m": a})))["verdict"] == "lower"


def test_other_data_make_it_unpaired():
    a, b = [2.0, 2.2, 2.1, 1.9], [2.5, 2.8, 2.5, 2.5]
    entry = only_entry(moved(side({"m": a}), side({"m": b}, initial=4.1)))
    test = stats.ttest_ind(b, a, equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert entry["compared"] == "unpaired"
    assert (entry["ci_low"], entry["ci_high"]) == pytest.approx((low / 2, high / 2))
    assert entry["p_value"] == pytest.approx(test.pvalue)


def test_other_seeds_make_it_unpaired():
    entry = only_entry(moved(side({"m": [2.0, 2.2, 2.1]}), side({"m": [2.5, 2.8, 2.5, 2.6]})))
    assert entry["compared"] == "unpaired"
    assert entry["p_value"] == pytest.approx(stats.ttest_ind([2.5, 2.8, 2.5, 2.6], [2.0, 2.2, 2.1], equal_var=False)[1])


def test_the_same_start_may_differ_by_rounding_alone():
    def grid(initial: list[float], seeds: tuple[int, ...] = (0, 1)) -> LossGrid:
        return LossGrid(
            lrs=np.array([1.0]),
            seeds=seeds,
            losses=np.ones((1, 2)),
            initial_losses=np.array(initial),
            num_lost=0,
            is_complete=True,
        )

    assert is_same_start(grid([3.0, 4.0]), grid([3.0001, 4.0]))
    assert not is_same_start(grid([3.0, 4.0]), grid([3.001, 4.0]))
    assert not is_same_start(grid([3.0, 4.0]), grid([3.0, 4.0], (0, 2)))


def test_a_rate_is_one_however_it_was_spelled():
    a = side({"m": [2.0, 2.2, 2.1]})
    b = side({"m": [1.9, 2.1, 2.0]}).with_columns(lr=pl.col("lr").replace({LRS[1]: LRS[1] * (1 + 5e-8)}))
    entry = only_entry(moved(a, b))
    assert (entry["num_lrs"], entry["num_lrs_left_out"], entry["num_trials"]) == (2, 0, 6)
    assert entry["difference"] == pytest.approx(-0.05)
    assert entry["verdict"] == "lower"


def test_rates_of_one_side_alone_are_counted():
    a = side({"m": [2.0, 2.2, 2.1]})
    more = a.filter(pl.col("lr") == LRS[1]).with_columns(lr=LRS[1] * 2, trial_id=pl.col("trial_id") + "more")
    found = moved(a, pl.concat([a, more]))
    assert only_entry(found)["num_lrs_left_out"] == 1
    assert "one learning rate of one entry on one side alone, so left out" in summary_lines(found)


def test_holm_counts_every_entry():
    a = {name: [2.0, 2.2, 2.1, 1.9] for name in ("m", "n", "o")}
    found = moved(side(a), side(a | {"m": [2.1, 2.6, 2.3, 2.1]})).entries
    entry = found.filter(pl.col("method") == "m").row(0, named=True)
    assert entry["p_holm"] == pytest.approx(3 * entry["p_value"])
    assert entry["p_value"] < 0.05 < entry["p_holm"]
    assert entry["verdict"] == "not separated"


def test_against_itself_nothing_moved():
    data = results(num_seeds=3)
    found = moved(data, data)
    assert set(found.entries["verdict"]) == {"identical"}
    assert found.entries["num_equal"].to_list() == [57] * 7
    assert found.entries["rank_a"].to_list() == found.entries["rank_b"].to_list()
    assert not found.is_beyond_noise
    board = leaderboard(data)
    assert dict(zip(found.entries["method"], found.entries["rank_a"], strict=True)) == dict(
        zip(board["method"], board["rank"], strict=True)
    )


def test_trials_are_counted_by_how_they_end():
    losses = {"m": [2.0, math.inf, math.inf, 3.0, 3.5]}
    changed = side({"m": [2.5, math.inf, 2.0, 3.0, math.inf]})
    entry = only_entry(moved(side(losses), changed))
    assert (entry["num_trials"], entry["num_equal"], entry["num_outcomes_differ"]) == (10, 7, 2)
    assert entry["largest_change"] == 0.5
    assert entry["verdict"] == "not separated"


def test_fewer_trials_are_not_identical():
    a = side({"m": [2.0, 2.0, 2.0]})
    entry = only_entry(moved(a, a.filter(pl.col("seed") < 2)))
    assert (entry["num_trials"], entry["num_equal"], entry["verdict"]) == (4, 4, "not separated")


def test_scores_and_ranks_are_over_the_learning_rates_in_common():
    a = side({"m": [2.0, 2.2, 2.1], "n": [3.0, 3.2, 3.1]})
    further = frame([row("m", 10.0, s, 1.5, initial_loss=4.0 + 0.01 * s) for s in range(3)])
    found = moved(pl.concat([a, further]), a).entries.filter(pl.col("method") == "m").row(0, named=True)
    assert (found["num_lrs"], found["score_a"], found["score_b"]) == (2, found["score_b"], pytest.approx(0.55))
    assert found["verdict"] == "not separated"  # the trials at the further lr keep it from being identical
    assert (found["rank_a"], found["rank_b"]) == (1, 1)


def test_one_learning_rate_in_common_is_not_compared():
    a, b = side({"m": [2.0, 2.2]}), side({"m": [2.0, 2.2]}).with_columns(pl.col("lr") * 10)
    found = moved(a, b)
    entry = only_entry(found)
    assert (entry["verdict"], entry["num_lrs"], entry["score_a"], entry["rank_a"]) == ("not compared", 1, None, None)
    assert "1 not compared" in summary_lines(found)[0]


def test_entries_of_one_side_alone_are_a_change():
    a, b = side({"m": [2.0, 2.2], "n": [2.0, 2.2]}), side({"m": [2.0, 2.2], "o": [2.0, 2.2]})
    found = moved(a, b)
    assert found.only.select("side", "method", "num_trials").rows() == [("A", "n", 4), ("B", "o", 4)]
    assert found.is_beyond_noise


def test_a_workload_of_other_parameters_is_the_same_where_there_is_one_of_each():
    a = side({"m": [2.0, 2.2]}, workload="w")
    long, longer = (side({"m": [2.0, 2.2]}, workload=f"w(num_steps={steps})", num_steps=steps) for steps in (1, 2))
    found = moved(a, long)
    assert found.workloads == {"w": "w(num_steps=1)"}
    assert only_entry(found)["workload"] == "w"
    assert moved(a, pl.concat([long, longer])).entries.is_empty()
    assert moved(long, pl.concat([long, longer])).workloads == {}


def test_knobs_named_on_one_side_alone_are_the_same_entry():
    a = side({"m": [2.0, 2.2]}, schedule="cosine")
    b = pl.concat([a, side({"n": [2.0, 2.2]}, schedule="constant")])
    found = moved(a, b)
    assert only_entry(found)["verdict"] == "identical"
    assert found.num_renamed == 1
    assert found.only["knobs"].to_list() == ["schedule=constant"]
    both = pl.concat([a, side({"m": [2.0, 2.2]}, schedule="constant")])
    assert moved(a, both).entries.is_empty()  # which of the two it is nobody knows


def test_two_workloads_are_compared_under_one_name():
    data = pl.concat([side({"m": [2.0, 2.2]}, workload=name) for name in ("v", "w")])
    pair = [of_workload(data, label, "v against w", "A") for label in ("v", "w")]
    assert only_entry(moved(*pair))["workload"] == "v against w"
    with pytest.raises(UsageError, match=r"A has no workload 'vv'; did you mean 'v'\? \(there are v; w\)"):
        of_workload(data, "vv", "x", "A")


def test_an_unknown_score_is_said():
    data = side({"m": [2.0, 2.2]})
    with pytest.raises(UsageError, match=r"unknown score 'lr_sensitivty'; did you mean 'lr_sensitivity'"):
        moved(data, data, "lr_sensitivty")


def test_manifests_differ_where_they_do():
    a = {
        "suite": {"workloads": [{"name": "w", "num_steps": 1}], "optimizers": [{"name": "sgd"}], "seeds": [0, 1]},
        "packages": {"torch": "1", "ray": "2"},
        "written": "today",
    }
    b = {
        "suite": {
            "workloads": [{"name": "w", "num_steps": 2}],
            "optimizers": [{"name": "sgd"}, {"name": "lion", "beta1": 0.9}],
            "seeds": [0, 1, 2],
        },
        "packages": {"torch": "1", "ray": "3"},
        "device": "1 GPU",
        "written": "tomorrow",
    }
    assert manifest_differences(a, b).rows() == [
        ("suite.workloads.w.num_steps", "1", "2"),
        ("suite.optimizers", "sgd", "sgd, lion"),
        ("suite.seeds", "0, 1", "0, 1, 2"),
        ("packages.ray", "2", "3"),
        ("device", None, "1 GPU"),
    ]
    assert manifest_differences(a, a).is_empty()
    assert manifest_differences({}, b).is_empty()


def test_text_forms_tell_all_of_it():
    found = moved(side({"m|x": [2.0, 2.2, 2.1]}), side({"m|x": [3.0, 3.2, 3.1], "<b>": [2.0, 2.2, 2.1]}))
    manifests = manifest_differences({"git": "1"}, {"git": "2"})
    text = diff_markdown(found, manifests, ("one", "two"))
    assert "| m\\|x, sgd | 0.550 | 1.050 | 0.500 | " in text
    assert "&lt;b&gt;" in text
    assert "| git | 1 | 2 |" in text
    assert '"verdict": "higher"' in diff_json(found, manifests, ("one", "two"))
