"""The section of other scores: what it shows, what it leaves to the leaderboard, and what it says of missing values."""

import math

import polars as pl

from analysis.across.disagreement import score_correlations
from analysis.report.score_sections import other_scores
from analysis.scores.table import score_differences
from tests.analysis.scored_results import scored_entries, scored_table
from tests.analysis.synthetic_results import METHODS, frame, results, row, traces

INF = math.inf


def suite(*, workloads=("w",), methods=("a", "b", "c"), optimizers=("sgd",)) -> pl.DataFrame:
    """Later methods have lower losses and an edge one grid point lower."""
    return frame(
        [
            row(
                method,
                lr,
                seed,
                INF if column > 2 - place else 3.0 - column - 0.1 * place + 0.01 * (seed + place * seed),
                workload=workload,
                optimizer=optimizer,
            )
            for workload in workloads
            for optimizer in optimizers
            for place, method in enumerate(methods)
            for column, lr in enumerate((0.01, 0.1, 1.0))
            for seed in range(3)
        ]
    )


def learning(data: pl.DataFrame) -> pl.DataFrame:
    """Half the losses: each method learns more than half of what the best one does."""
    return data.with_columns(pl.col("final_loss") / 2)


def table(data: pl.DataFrame) -> pl.DataFrame:
    return scored_table(data, None, 1, "train")


def told(data: pl.DataFrame):
    found = other_scores(scored_entries(data, None, 1, "train"), "train")
    return found


def test_a_method_that_learned_little_has_no_rank_under_any_score():
    little = frame([row("little", lr, seed, 3.0, workload="w") for lr in (0.01, 0.1, 1.0) for seed in range(3)])
    found = told(pl.concat([learning(suite()), little])).markdown
    ranks = found[found.index("Order under each score") :]
    assert "| little |" in found
    assert "| c |" in ranks
    assert "| little |" not in ranks


def test_files_hold_the_frames():
    data = learning(suite())
    found, entries = told(data), scored_entries(data, None, 1, "train")
    known = score_correlations(table(data)).filter(pl.col("spearman").is_not_null())
    assert found.files["scores.csv"] == table(data).write_csv()
    assert found.files["score_correlations.csv"] == known.write_csv()
    assert score_differences(entries, "edge_lr").write_csv().splitlines()[1] in found.files["score_differences.csv"]
    assert "edge_lr" in found.definitions
    assert "best_loss" not in found.definitions


def test_names_are_escaped():
    hostile = told(suite(methods=("<script>a|b</script>", "b", "c")))
    assert "<script>" not in hostile.html
    assert "<script>" not in hostile.markdown


def test_scores_from_traces_are_shown_where_there_are_traces():
    data = results(num_seeds=2, methods={name: METHODS[name] for name in ("softmax", "relu_kernel")})
    found = other_scores(scored_entries(data, traces(data), 21, "train"), "train")
    assert "Steps to target" in found.markdown
    assert "Scores from traces are of the training loss." in found.markdown
    assert "bench scores" not in found.markdown
    assert {"steps_to_target", "lowest_entropy"} <= found.definitions.keys()
    without = told(data)
    assert "Steps to target" not in without.markdown
    assert "The command bench scores adds what traces tell." in without.markdown


def test_of_more_than_a_hundred_entries_no_pairs_are_written():
    """Of 100 entries 4,950 pairs are; of 500 entries the file would have 200 MB."""
    for number, has_pairs in ((100, True), (101, False)):
        methods = [f"m{place}" for place in range(number)]
        data = frame(
            [row(method, lr, 0, 1 + lr + place / 1e3, workload="w") for place, method in enumerate(methods)
             for lr in (0.1, 0.2)]
        )  # fmt: skip
        found = told(data)
        assert ("score_differences.csv" in found.files) == has_pairs
        assert ("of 5,050 pairs of entries `bench scores --differences SCORE` tests" in found.html) == (not has_pairs)
