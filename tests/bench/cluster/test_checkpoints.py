"""Checkpoints: whole or not at all, for those who share the folder, on disk and in an object store."""

from pickle import PicklingError

import pytest
import torch

import bench
from bench.cluster.checkpoints import Checkpoints


def checkpoints(folder, **changes) -> Checkpoints:
    return Checkpoints(**({"uri": str(folder), "token": "secret", "variant": "cpu"} | changes))


def test_a_state_comes_back_as_it_was(tmp_path):
    kept = checkpoints(tmp_path / "with space & more")
    kept.start()
    state = {"pack": "p", "step": 3, "lanes": {"w": torch.arange(4.0)}}
    kept.save("p", state)
    found = kept.load("p")
    assert found is not None
    assert torch.equal(found["lanes"].pop("w"), state["lanes"].pop("w"))
    assert found == state
    kept.save("p", {"step": 4})
    assert kept.load("p") == {"step": 4}
    kept.remove("p")
    assert kept.load("p") is None
    kept.remove("p")


def test_packs_and_variants_are_kept_apart(tmp_path):
    kept = checkpoints(tmp_path)
    kept.start()
    kept.save("p", {"step": 1})
    assert kept.load("q") is None
    assert checkpoints(tmp_path, variant="cuda").load("p") is None


def test_only_who_finds_the_token_shares_the_folder(tmp_path):
    kept = checkpoints(tmp_path / "a")
    assert not kept.is_shared()
    kept.start()
    assert kept.is_shared()
    assert not checkpoints(tmp_path / "a", token="other").is_shared()
    assert not checkpoints(tmp_path / "b").is_shared()


def test_what_is_damaged_or_of_another_version_is_no_checkpoint(tmp_path, monkeypatch):
    kept = checkpoints(tmp_path)
    kept.start()
    kept.save("p", {"step": 1})
    path = tmp_path / "p-cpu.pt"
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        assert kept.load("p") is None
    path.write_bytes(whole)
    monkeypatch.setattr(bench, "__version__", "0.0.0")
    assert kept.load("p") is None


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    kept = checkpoints(tmp_path)
    kept.start()
    torch.save({"bench": bench.__version__, "state": Bomb()}, tmp_path / "p-cpu.pt")
    assert kept.load("p") is None
    assert not (tmp_path / "exploded").exists()


def test_a_failed_write_leaves_the_last_checkpoint(tmp_path):
    kept = checkpoints(tmp_path)
    kept.start()
    kept.save("p", {"step": 1})
    with pytest.raises((AttributeError, PicklingError), match="lambda"):
        kept.save("p", {"step": lambda: None})
    assert kept.load("p") == {"step": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in-use", "p-cpu.pt"]


def test_clear_removes_everything(tmp_path):
    kept = checkpoints(tmp_path / "a")
    kept.clear()
    kept.start()
    kept.save("p", {"step": 1})
    kept.clear()
    assert not (tmp_path / "a").exists()
