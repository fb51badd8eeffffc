"""What a GPU measured of curvature is what a processor measures: suites/results/sharpness_edge/curvature.csv."""

import polars as pl
import pytest

from bench.suite import find_suite, load_suite
from bench.training.pack import Pack
from bench.training.train import PackRun
from tests.published import RESULTS

RATE = 0.03  # where sharpness gets to the edge
TOLERANCE = 2e-3  # relative; 4e-4 was measured, after 600 steps


@pytest.mark.whole
def test_sharpness_of_full_batches_is_that_of_a_processor():
    """Medians over seeds, softmax by SGD at one rate. An iterated probe on a GPU once read memory that was freed."""
    trials = [
        trial
        for trial in load_suite(find_suite("sharpness_edge")).expand()
        if trial.method.name == "softmax" and trial.optimizer.name == "sgd" and trial.knobs.lr == RATE
        if trial.workload.params.get("num_batches") == 1
    ]
    run = PackRun(Pack(trials=tuple(trials)), device="cpu")
    run.advance()
    measured = pl.concat(run.traces().values()).filter(quantity="edge_ratio")
    of_step = dict(measured.group_by("step").agg(pl.col("value").median()).iter_rows())
    committed = pl.read_csv(RESULTS / "sharpness_edge" / "curvature.csv").filter(
        batch="full", optimizer="sgd", method="softmax", quantity="edge_ratio", lr=RATE
    )
    assert committed.height == 31
    for step, value in committed.select("step", "value").iter_rows():
        assert of_step[step] == pytest.approx(value, rel=TOLERANCE)
