"""What is imported is found again in every kind of store, replaced, and deleted as a whole."""

from bench.imports.runs import imported_runs, plain_reading
from bench.imports.tidy_file import read_tidy
from bench.store import imported_trials, read_import, read_imports, read_results, read_runs, records

RUNS = "method,lr,seed,loss,initial_loss\na,0.1,0,1.0,4.0\nb,0.1,0,2.0,4.0\n"


def runs(folder, text):
    (folder / "runs.csv").write_text(text)
    return list(imported_runs(read_tidy(folder / "runs.csv"), plain_reading("runs")).results)


def test_imported_trials_are_told_from_ours(any_store, open_tracker, tmp_path):
    results = runs(tmp_path, RUNS)
    tracker = open_tracker(any_store, "imports")
    tracker.put(results, {})
    ids = {result.trial.id for result in results}
    assert imported_trials(any_store, "imports") == dict.fromkeys(ids, "runs")  # they wait in the outbox
    assert tracker.deliver() == 0
    assert imported_trials(any_store, "imports") == dict.fromkeys(ids, "runs")
    assert read_import(any_store, "imports", "runs").keys() == ids
    assert read_import(any_store, "imports", "others") == {}
    tracker.log_import("runs", {"file": "runs.csv"})
    assert read_imports(any_store, "imports") == {"runs": {"file": "runs.csv"}}


def test_removed_trials_take_their_method_runs_along(any_store, open_tracker, tmp_path):
    results = runs(tmp_path, RUNS)
    tracker = open_tracker(any_store, "removals")
    tracker.put(results, {})
    tracker.deliver()
    tracker.remove({results[0].trial.id})
    assert read_results(any_store, "removals")["method"].to_list() == ["b"]
    methods = [
        run.tags["bench.method"] for run in read_runs(any_store, "removals") if records.is_kind(run.tags, "method")
    ]
    assert methods == ["b"]
    tracker.remove({results[1].trial.id})
    assert imported_trials(any_store, "removals") == {}
