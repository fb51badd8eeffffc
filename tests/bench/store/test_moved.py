"""A home that was moved: MLflow's own client finds the artifacts at their new place."""

import shutil

import pytest

from bench.store import Store, follow_artifacts
from tests.bench.store import finished_packs


def test_artifacts_of_a_moved_store_are_where_mlflow_looks_for_them(store, home, open_tracker, tmp_path):
    tracker = open_tracker(store)
    finished = finished_packs.results(range(2))
    tracker.put(finished, finished_packs.traces(finished))
    tracker.deliver()
    tracker.log_page("page", {"page.html": "<p>page</p>"})
    tracker.close()
    assert follow_artifacts(store) == 0
    shutil.move(home, tmp_path / "elsewhere")
    moved = Store(tmp_path / "elsewhere", warn=pytest.fail)
    experiment = moved.experiment("suite")
    (suite,) = moved.runs(experiment, "suite")
    assert moved.client().list_artifacts(suite.run_id) == []
    assert follow_artifacts(moved) == 1
    assert follow_artifacts(moved) == 0
    client = Store(tmp_path / "elsewhere", warn=pytest.fail).client()
    assert [file.path for file in client.list_artifacts(suite.run_id)] == ["page.html"]
    (trial, _) = moved.runs(experiment, "trial")
    assert [file.path for file in client.list_artifacts(trial.run_id)] == ["trace.parquet"]
