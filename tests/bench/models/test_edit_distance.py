"""Error rates of the most probable path are those of Levenshtein's recursion and of jiwer, under lanes."""

import random
from collections.abc import Sequence

import pytest
import torch

from bench.models.edit_distance import label_errors, word_errors

SPACE = 3
L, B, T, V, S = 3, 8, 30, 6, 9
NUM_FRAMES = torch.tensor([30, 25, 12, 30, 3, 1, 30, 30])
NUM_LABELS = torch.tensor([9, 5, 1, 8, 9, 0, 9, 7])


def levenshtein(said: Sequence, wanted: Sequence) -> int:
    row = list(range(len(wanted) + 1))
    for i, one in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(wanted, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (one != other))
    return row[-1]


def collapsed(path: list[int]) -> list[int]:
    return [symbol for t, symbol in enumerate(path) if symbol and (t == 0 or symbol != path[t - 1])]


def as_words(symbols: list[int]) -> Sequence[str]:
    return "".join(" " if symbol == SPACE else "abcdef"[symbol] for symbol in symbols).split()


def drawn():
    generator = torch.Generator().manual_seed(0)
    scores_LBTV = torch.randn(L, B, T, V, generator=generator)
    scores_LBTV[..., 0] += 0.7
    return scores_LBTV, torch.randint(1, V, (B, S), generator=generator)


def test_label_errors_of_lanes_are_levenshteins():
    scores_LBTV, labels_BS = drawn()
    found_LB = torch.func.vmap(lambda x: label_errors(x, labels_BS, NUM_FRAMES, NUM_LABELS))(scores_LBTV)
    for lane in range(L):
        for b in range(B):
            said = collapsed(scores_LBTV[lane, b, : NUM_FRAMES[b]].argmax(-1).tolist())
            assert found_LB[lane, b] == levenshtein(said, labels_BS[b, : NUM_LABELS[b]].tolist())


def test_word_errors_of_lanes_are_levenshteins_and_jiwers():
    scores_LBTV, labels_BS = drawn()
    errors_LB, num_words_LB = torch.func.vmap(
        lambda x: word_errors(x, labels_BS, NUM_FRAMES, NUM_LABELS, space=SPACE), out_dims=(0, 0)
    )(scores_LBTV)
    pairs = []
    for lane in range(L):
        for b in range(B):
            said = as_words(collapsed(scores_LBTV[lane, b, : NUM_FRAMES[b]].argmax(-1).tolist()))
            wanted = as_words(labels_BS[b, : NUM_LABELS[b]].tolist())
            assert num_words_LB[lane, b] == len(wanted)
            assert errors_LB[lane, b] == levenshtein(said, wanted)
            if wanted:
                pairs.append((" ".join(wanted), " ".join(said), int(errors_LB[lane, b])))
    assert len(pairs) > 15
    jiwer = pytest.importorskip("jiwer")
    measured = jiwer.process_words([wanted for wanted, _, _ in pairs], [said for _, said, _ in pairs])
    assert measured.substitutions + measured.insertions + measured.deletions == sum(errors for *_, errors in pairs)


def test_a_path_that_says_all_has_no_errors():
    """Whatever frames say between."""
    rng = random.Random(0)
    labels = [1, 1, SPACE, 2, 4, SPACE, 5]
    path = [symbol for label in labels for symbol in [label] * rng.randint(1, 3) + [0] * rng.randint(1, 3)]
    log_p_BTV = torch.nn.functional.one_hot(torch.tensor([path]), V).double()
    lengths = torch.tensor([len(path)]), torch.tensor([len(labels)])
    labels_BS = torch.tensor([[*labels, 2, 2]])  # what lies beyond the length is not wanted
    assert label_errors(log_p_BTV, labels_BS, *lengths).tolist() == [0]
    errors_B, num_words_B = word_errors(log_p_BTV, labels_BS, *lengths, space=SPACE)
    assert (errors_B.tolist(), num_words_B.tolist()) == ([0], [3])
