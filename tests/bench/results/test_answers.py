"""The report of every kind of search, from what the searches themselves say."""

import math
from typing import Any

import polars as pl
import pytest

from analysis.report.folder import write_report
from bench.driver.queues import SearchQueue
from bench.outcome import Outcome, Result
from bench.results.subjects import searched_subject
from bench.suite import Suite


def searched(search: str) -> Suite:
    return Suite(
        name="s",
        workloads=[{"name": "in_context_regression", "num_steps": 20}],
        methods=["softmax", "relu_kernel"],
        optimizers=["adamw"],
        knobs={"lr": [1e-4, 10.0]},
        search={"name": search, "budget": 9},  # pyright: ignore[reportArgumentType]
        seeds=2,
        probe_every=5,
    )


def results(suite: Suite, most: int) -> dict[str, dict[str, Any]]:
    """A valley of losses that diverges above 0.3, trained until the search is done or `most` trials are there."""
    rows: dict[str, dict[str, Any]] = {}
    queue = SearchQueue(suite, {})
    while (trials := queue.next()) and len(rows) < most:
        for trial in trials:
            is_stable = trial.knobs.lr < 0.3
            final = 1 + abs(math.log10(trial.knobs.lr) + 2) / 2 if is_stable else math.inf
            result = Result(
                trial=trial,
                outcome=Outcome.COMPLETED if is_stable else Outcome.DIVERGED,
                initial_loss=3.0,
                final_loss=final,
                wall_s=1.0,
            )
            rows[trial.id] = result.search_row()
            queue.tell([result])
    return rows


@pytest.mark.parametrize(
    ("search", "most", "words"),
    [
        ("edge", 99, "is stable up to the largest lr"),
        pytest.param("edge", 10, "2 of them are not finished", marks=pytest.mark.repetition),
        pytest.param("tune", 99, "reaches the least loss", marks=pytest.mark.repetition),
        pytest.param("sensitivity", 99, "has the lowest LR sensitivity", marks=pytest.mark.repetition),
    ],
)
def test_every_search_has_its_report(tmp_path, search, most, words):
    suite = searched(search)
    rows = results(suite, most)
    subject = searched_subject(suite, rows, read_manifest=lambda: None)
    paths = write_report(subject, tmp_path, formats=(), is_linked=False)
    page = paths[0].read_text(encoding="utf-8")
    assert words in page
    for method in ("softmax", "relu_kernel"):
        name = f"asked-in_context_regression_num_steps=20_{method}_adamw.csv"
        drawn = pl.read_csv(tmp_path / "figures" / name)
        assert drawn["value"].to_list() == subject.trail.filter(method=method)["value"].to_list()
        assert set(drawn["state"]) <= {"completed", "diverged", "no result"}
