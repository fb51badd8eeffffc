"""Number words as tensors: equal to the words in Python, drawn by seed and step, never what is held out."""

import pytest
import torch

from bench.data.pairs.number_words import ENGLISH, GERMAN
from bench.workloads.number_pairs import (
    NumberPairs,
    alphabet,
    held_out_numbers,
    is_held_out,
    training_numbers,
)
from bench.workloads.sentence_pairs import END, PADDING, in_batches, started, token_weights

PAIRS = NumberPairs(digits=9, num_held_out=300)


def texts(ids: torch.Tensor) -> list[str]:
    return [PAIRS.text(row) for row in ids.flatten(0, -2).tolist()]


def test_characters_are_those_of_the_words():
    seeds, steps = torch.tensor([0, 5]), torch.tensor([0, 3, 1000])
    numbers = training_numbers(seeds, steps, 200, 9).flatten().tolist()
    source, target = PAIRS.train(seeds, steps, 200)
    assert texts(source) == [ENGLISH.words(number) for number in numbers]
    assert texts(target) == [GERMAN.words(number) for number in numbers]
    assert (source.shape, target.shape) == ((3, 2, 200, PAIRS.source_tokens), (3, 2, 200, PAIRS.target_tokens))


def test_every_row_ends_once_and_is_padded_behind_its_end():
    for ids in PAIRS.train(torch.tensor([0]), torch.tensor([0]), 100):
        assert ((ids == END).sum(dim=-1) == 1).all()
        is_behind = (ids == END).cumsum(dim=-1) - (ids == END).long() > 0
        assert torch.equal(is_behind, ids == PADDING)


def test_numbers_have_every_count_of_digits_and_zero_is_one():
    numbers = training_numbers(torch.tensor([0]), torch.arange(50), 200, 9).flatten().tolist()
    counts = [sum(len(str(number)) == digits for number in numbers) for digits in range(1, 10)]
    assert min(counts) > 0.09 * len(numbers)
    assert 0 in numbers


def test_training_never_sees_what_is_held_out_but_all_small_numbers():
    numbers = training_numbers(torch.arange(3), torch.arange(200), 100, 4)
    assert not is_held_out(numbers).any()
    assert not is_held_out(torch.arange(1000)).any()
    assert numbers.unique().numel() > 0.75 * (10_000 - 9_000 // 16)
    assert set(range(1000)) <= set(numbers.flatten().tolist())
    share = is_held_out(torch.arange(1000, 101_000)).double().mean()
    assert abs(share - 1 / 16) < 0.003


def test_held_out_numbers_are_large_and_the_same_at_every_look():
    numbers = held_out_numbers(300, 9, torch.device("cpu"))
    assert is_held_out(numbers).all()
    assert {len(str(number)) for number in numbers.tolist()} == set(range(4, 10))
    assert torch.equal(numbers, held_out_numbers(300, 9, torch.device("cpu")))


@pytest.mark.parametrize("digits", range(4, 10))
def test_held_out_numbers_are_as_many_as_are_asked_for(digits):
    many = held_out_numbers(1000, digits, torch.device("cpu"))
    for count in (*range(1, 40), 64, 255, 999):
        assert torch.equal(held_out_numbers(count, digits, torch.device("cpu")), many[:count])


def test_the_alphabet_is_small_and_its_characters_are_ids():
    assert len(alphabet()) == 29
    assert PAIRS.vocabulary_size == 32


def test_weights_make_a_mean_over_tokens_of_a_mean_over_pairs():
    target = torch.tensor([[5, END, PADDING], [5, 6, END]])
    weights = token_weights(target, num_dims=2)
    values = torch.tensor([[1.0, 2.0, 100.0], [3.0, 4.0, 5.0]])
    torch.testing.assert_close((weights * values).sum(dim=-1).mean(), torch.tensor(15.0 / 5))
    apart = token_weights(target[:, None], num_dims=2)  # two batches of one pair each
    torch.testing.assert_close((apart * values[:, None]).sum(dim=-1).mean(dim=-1), torch.tensor([1.5, 4.0]))


def test_the_last_batch_is_filled_with_pairs_of_no_weight():
    source, target = in_batches(PAIRS.held_out(torch.device("cpu")), 128)
    assert source.shape[:2] == target.shape[:2] == (3, 128)
    weights = token_weights(target, num_dims=3)
    num_tokens = (PAIRS.held_out(torch.device("cpu"))[1] != PADDING).sum()
    torch.testing.assert_close(weights.sum(dim=-1).mean(), torch.tensor(1.0))
    assert (weights > 0).sum() == num_tokens
    assert (source != PADDING).any(dim=-1).all()
    assert not weights[-1, 300 - 256 :].any()


def test_a_decoder_reads_the_start_and_all_but_the_last_token():
    assert started(torch.tensor([5, 6, END])).tolist() == [1, 5, 6]
