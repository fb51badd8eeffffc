"""The suite's own run in MLflow: its leaderboard, page, tags and status."""

import math
import time

import polars as pl
import pytest

from bench.store.views import LEADERBOARD, view_tag
from tests.bench.store import finished_packs
from tests.bench.store.stored import put, rows


def test_leaderboard_numbers_are_on_the_method_runs(store, open_tracker):
    tracker = open_tracker(store)
    put(tracker, finished_packs.results(range(4)))
    tracker.deliver()
    board = pl.DataFrame(
        {
            "rank": [1, 2],
            "workload": ["regression"] * 2,
            "method": ["softmax", "relu"],
            "optimizer": ["adam"] * 2,
            "lr_sensitivity": [0.25, 0.5],
            "best_loss": [0.1, math.inf],
            "best_lr": pl.Series([0.01, None], dtype=pl.Float64),
            "val_loss": pl.Series([None, None], dtype=pl.Float64),
            "flags": [["few seeds", "edge"], []],
        },
        strict=False,
    )
    tracker.log_leaderboard(board, texts={"LR sensitivity": ["0.25 [0.1, 0.4]", "0.50"]})
    experiment = store.experiment("suite")
    assert experiment is not None
    runs = store.client().search_runs(
        [experiment.experiment_id], "tags.`bench.kind` = 'method'", order_by=["metrics.lr_sensitivity ASC"]
    )
    assert [run.data.tags["bench.method"] for run in runs] == ["softmax", "relu"]
    assert runs[0].data.metrics == {"rank": 1, "lr_sensitivity": 0.25, "best_loss": 0.1, "best_lr": 0.01}
    assert runs[1].data.metrics == {"rank": 2, "lr_sensitivity": 0.5}
    assert [run.data.tags["flags"] for run in runs] == ["few seeds, edge", ""]

    assert [run.data.tags["LR sensitivity"] for run in runs] == ["0.25 [0.1, 0.4]", "0.50"]

    assert "val_loss" not in store.client().get_experiment(experiment.experiment_id).tags[view_tag(LEADERBOARD)]

    tracker.log_leaderboard(board.with_columns(lr_sensitivity=pl.lit(None, pl.Float64)))
    again = store.client().get_run(runs[0].info.run_id)
    assert math.isnan(again.data.metrics["lr_sensitivity"])
    assert again.data.metrics["best_loss"] == 0.1


def test_page_and_start_are_on_the_suite_run(store, open_tracker, tmp_path):
    figure = tmp_path / "figure.svg"
    figure.write_text("<svg/>")
    tracker = open_tracker(store)
    tracker.finished()
    tracker.start("{}")
    tracker.log_page("# Results\n" + "a line\n" * 2000, {"leaderboard.md": "| ñ |", "figures/loss.svg": figure})
    tracker.finish("FINISHED")
    tracker.close()
    experiment = store.experiment("suite")
    assert experiment is not None
    (run,) = store.runs(experiment, "suite")
    assert run.status == "FINISHED"
    note = run.tags["mlflow.note.content"]
    assert note.startswith("# Results\na line\n")
    assert note.endswith("a line\n\n…")
    assert len(note) <= 8000
    folder = store.run_folder(experiment, run.run_id)
    assert folder is not None
    assert (folder / "figures/loss.svg").read_text() == "<svg/>"
    assert (folder / "leaderboard.md").read_text() == "| ñ |"
    assert [path.read_text() for path in folder.glob("starts/*.json")] == ["{}"]
    with pytest.raises(ValueError, match="below"):
        open_tracker(store).log_page("", {"../outside": "x"})


def test_runs_are_found_by_the_tags_of_their_start(store, open_tracker):
    tracker = open_tracker(store)
    put(tracker, finished_packs.results(range(4)))
    tracker.deliver()
    tracker.tag({"bench.version": "0.1.0", "bench.date": "2026-11-23T00:00:00Z"})
    experiment = store.experiment("suite")
    assert experiment is not None
    condition = "tags.`bench.version` = '0.1.0' and tags.`bench.date` LIKE '2026-11-%'"
    found = {
        run.info.run_id: run.data.tags for run in store.client().search_runs([experiment.experiment_id], condition)
    }
    assert sorted(tags["bench.kind"] for tags in found.values()) == ["method", "method", "suite"]
    (suite,) = [tags for tags in found.values() if tags["bench.kind"] == "suite"]
    assert (suite["bench.method"], suite["bench.optimizer"]) == ("relu, softmax", "adam")
    assert store.client().search_runs([experiment.experiment_id], "tags.`bench.version` = '0.2.0'") == []


def test_note_ends_with_links_to_pages(store, open_tracker):
    tracker = open_tracker(store)
    tracker.log_page("a line\n" * 2000, {"a b.html": "<p>", "x.csv": "1"})
    experiment = store.experiment("suite")
    assert experiment is not None
    (run,) = store.runs(experiment)
    note, run_id = run.tags["mlflow.note.content"], run.run_id
    address = f"#/experiments/1/runs/{run_id}/artifacts/a%20b.html?workflowType=machine_learning"
    assert note.endswith(f"a line\n\n…\n\nPages under Artifacts: [a b.html]({address})\n")
    assert len(note) <= 8000


def test_suite_run_is_running_again_after_a_new_start(store, open_tracker):
    tracker = open_tracker(store)
    tracker.finished()
    tracker.finish("FINISHED")
    tracker.close()
    tracker = open_tracker(store)
    tracker.finished()
    tracker.start("{}")
    deadline = time.monotonic() + 30
    while rows(store, "select status from runs") != [("RUNNING",)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
