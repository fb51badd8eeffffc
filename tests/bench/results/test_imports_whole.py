"""An import is whole or not at all: what can't be published leaves the store as it was."""

import tempfile
from pathlib import Path

import polars as pl
import pytest

from bench.imports.tidy_file import read_tidy
from bench.results.imports import import_runs
from bench.results.stored import Stored
from bench.results.verify import verify
from bench.store import Store, imported_trials, read_imports, read_results, suite_names

HEADER = "method,lr,seed,final_loss,initial_loss,val_loss"


def write(folder: Path, bump: float, num_seeds: int) -> Path:
    """Six rates and losses of two methods, with a held-out loss but none at init."""
    losses = {("softmax", 0.001): 2.4, ("softmax", 0.01): 1.8, ("softmax", 0.1): 3.1,
              ("qk_norm", 0.001): 2.5, ("qk_norm", 0.01): 1.9, ("qk_norm", 0.1): 2.2}  # fmt: skip
    rows = [
        f"{method},{lr},{seed},{loss + 0.02 * seed + bump:.4f},4.1,{loss + 0.02 * seed + 0.15:.4f}"
        for (method, lr), loss in losses.items()
        for seed in range(num_seeds)
    ]
    path = folder / "theirs.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


@pytest.mark.slow
def test_held_out_losses_without_one_at_init_go_in_and_are_shown_unscored(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path / "store", warn=pytest.fail)
    imported = import_runs(read_tidy(write(tmp_path, 0.0, 3)), store, beside=None)
    board = imported.subject.board
    assert board["method"].to_list() == ["qk_norm", "softmax"]
    assert board["rank"].to_list() == [1, 2]
    assert board["lr_sensitivity"].to_list() == pytest.approx([0.3, 1.9 / 3])
    assert board["best_loss"].to_list() == pytest.approx([1.92, 1.82])
    assert board["val_loss"].to_list() == pytest.approx([2.07, 1.97])
    assert verify(Stored(name="theirs", suite=None), store).findings == ()
    assert import_runs(read_tidy(tmp_path / "theirs.csv"), store, beside=None).is_unchanged


@pytest.mark.slow
def test_an_import_that_fails_while_it_is_published_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path / "store", warn=pytest.fail)
    file = write(tmp_path, 0.0, 2)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))  # where pages are drawn
    with pytest.raises(FileNotFoundError):
        import_runs(read_tidy(file), store, beside=None)
    assert suite_names(store) == []
    monkeypatch.undo()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    import_runs(read_tidy(file), store, beside=None)
    before, record = read_results(store, "theirs"), read_imports(store, "theirs")
    changed = write(tmp_path, 0.5, 3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError):
        import_runs(read_tidy(changed), store, beside=None)
    assert read_results(store, "theirs").sort("trial_id").equals(before.sort("trial_id"))
    assert read_imports(store, "theirs") == record
    monkeypatch.undo()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert import_runs(read_tidy(changed), store, beside=None).num_replaced == 12
    assert len(imported_trials(store, "theirs")) == pl.DataFrame(read_results(store, "theirs")).height == 18
    assert verify(Stored(name="theirs", suite=None), store).findings == ()
