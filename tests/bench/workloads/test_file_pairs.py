"""Pairs of a prepared folder as tensors: drawn by seed and step, whole, and long ones left out where asked."""

import pytest
import torch

from bench.data.pairs.sources import pair_files
from bench.data.pairs.write import write_pairs
from bench.errors import UsageError
from bench.workloads import file_pairs
from bench.workloads.file_pairs import FilePairs
from bench.workloads.sentence_pairs import END, PADDING

TEXTS = [("a" * (1 + number % 7), "b" * (1 + number % 5)) for number in range(70)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    place = tmp_path_factory.mktemp("pairs")
    for side, name in enumerate(("en", "de")):
        (place / name).write_text("".join(f"{pair[side]}\n" for pair in TEXTS))
    write_pairs(place / "out", pair_files(str(place / "en"), str(place / "de")), "characters")
    return str(place / "out")


def texts(pairs: FilePairs, ids: torch.Tensor) -> list[str]:
    return [pairs.text(row) for row in ids.flatten(0, -2).tolist()]


def test_batches_are_pairs_of_the_training_lines(folder):
    pairs = FilePairs(folder=folder, max_tokens=None, num_held_out=None)
    source, target = pairs.train(torch.tensor([0, 1]), torch.tensor([0, 5]), 40)
    assert (source.shape, target.shape) == ((2, 2, 40, 8), (2, 2, 40, 6))
    drawn = list(zip(texts(pairs, source), texts(pairs, target), strict=True))
    assert set(drawn) <= set(TEXTS)
    assert len(set(drawn)) > 25
    for ids in (source, target):
        assert ((ids == END).sum(dim=-1) == 1).all()
        assert (ids[..., -1] <= END).all()


def test_held_out_pairs_are_the_last_lines_in_their_order(folder):
    pairs = FilePairs(folder=folder, max_tokens=None, num_held_out=None)
    source, target = pairs.held_out(torch.device("cpu"))
    assert list(zip(texts(pairs, source), texts(pairs, target), strict=True)) == TEXTS[63:]
    few = FilePairs(folder=folder, max_tokens=None, num_held_out=3)
    assert torch.equal(few.held_out(torch.device("cpu"))[0], source[:3])


def test_pairs_longer_than_max_tokens_are_left_out_everywhere(folder):
    pairs = FilePairs(folder=folder, max_tokens=3, num_held_out=None)
    assert (pairs.source_tokens, pairs.target_tokens) == (4, 4)
    source, target = pairs.train(torch.tensor([0]), torch.tensor([0]), 200)
    drawn = set(zip(texts(pairs, source), texts(pairs, target), strict=True))
    assert drawn == {pair for pair in TEXTS[:63] if max(map(len, pair)) <= 3}
    kept = [pair[0] for pair in TEXTS[63:] if max(map(len, pair)) <= 3]
    assert texts(pairs, pairs.held_out(torch.device("cpu"))[0]) == kept
    with pytest.raises(UsageError, match="max_tokens 0 leaves no training pair"):
        FilePairs(folder=folder, max_tokens=0, num_held_out=None).digest()


def test_ids_that_stay_on_disk_give_the_same_batches(folder, monkeypatch):
    pairs = FilePairs(folder=folder, max_tokens=None, num_held_out=None)
    seeds, steps = torch.tensor([3]), torch.tensor([2])
    copied = pairs.train(seeds, steps, 9)
    monkeypatch.setattr(file_pairs, "MAX_ON_DEVICE", 0)
    file_pairs._sides.cache_clear()
    for ids, same in zip(pairs.train(seeds, steps, 9), copied, strict=True):
        assert torch.equal(ids, same)
    file_pairs._sides.cache_clear()
    assert (copied[0] != PADDING).any()
