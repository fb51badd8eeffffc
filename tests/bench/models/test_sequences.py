"""Ragged sequences: means over tokens by loops, exact matches, and greedy decoding of a known machine."""

import pytest
import torch

from bench.models.sequences import greedy, token_losses, token_measures
from bench.workloads.sentence_pairs import PADDING, token_weights

B, U, V = 4, 5, 6
LENGTHS = [5, 1, 3, 2]


@pytest.fixture(scope="module")
def batch():
    """Logits, targets and weights of four sequences of 5, 1, 3 and 2 tokens."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(B, U, V, generator=generator, dtype=torch.float64)
    targets = torch.randint(1, V, (B, U), generator=generator)
    for row, length in enumerate(LENGTHS):
        targets[row, length:] = PADDING
    return logits, targets, token_weights(targets, num_dims=2).double()


def tokens():
    return [(row, place) for row, length in enumerate(LENGTHS) for place in range(length)]


def test_losses_are_means_over_tokens(batch):
    logits, targets, _ = batch
    log_p = logits.log_softmax(dim=-1)
    found = token_losses(*batch)
    naive = sum(-log_p[row, place, targets[row, place]] for row, place in tokens()) / 11
    torch.testing.assert_close(found.loss, naive, rtol=1e-7, atol=0)
    uniform = sum(-log_p[row, place].mean() for row, place in tokens()) / 11
    torch.testing.assert_close(found.uniform, uniform, rtol=1e-7, atol=0)
    z = sum(logits[row, place].logsumexp(dim=-1) ** 2 for row, place in tokens()) / 11
    torch.testing.assert_close(found.z, z, rtol=1e-7, atol=0)


def test_a_smoothed_objective_is_torchs(batch):
    logits, targets, _ = batch
    found = token_losses(*batch)
    torchs = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING, label_smoothing=0.1
    )
    torch.testing.assert_close(0.9 * found.loss + 0.1 * found.uniform, torchs, rtol=1e-7, atol=0)


def test_what_stands_in_padding_changes_nothing(batch):
    logits, targets, weights = batch
    other = torch.where(weights[..., None] > 0, logits, 7 * logits + 1)
    for one, same in zip(token_losses(*batch), token_losses(other, targets, weights), strict=True):
        assert torch.equal(one, same)
    assert token_measures(*batch) == token_measures(other, targets, weights)


def test_a_sequence_is_exact_if_every_token_is():
    targets = torch.tensor([[3, 4, 2], [5, 2, PADDING], [3, 2, PADDING], [PADDING] * 3])
    logits = torch.nn.functional.one_hot(torch.tensor([[3, 4, 2], [5, 2, 1], [3, 3, 3], [1, 1, 1]]), V).double()
    found = token_measures(logits, targets, token_weights(targets, num_dims=2))
    assert found["accuracy"].item() == pytest.approx(6 / 7)
    assert (found["exact"].item(), found["sequences"].item()) == (2 / 4, 3 / 4)


def test_halves_of_a_batch_have_the_mean_of_the_whole(batch):
    logits, targets, weights = batch
    halves = [token_losses(logits[part], targets[part], weights[part]).loss for part in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(sum(halves) / 2, token_losses(*batch).loss)


def counting(reads: torch.Tensor, place: int) -> torch.Tensor:
    """Logits of a machine that counts: after START comes 3, after n comes n + 1, after 5 the end, 2."""
    follow = torch.tensor([0, 3, 9, 4, 5, 2])
    return torch.nn.functional.one_hot(follow[reads[:, place].clamp_max(5)].clamp_max(V - 1), V).double()


def test_greedy_decoding_writes_what_the_machine_says_up_to_its_end():
    found = greedy(counting, torch.zeros(2), num_tokens=6, start=1, end=2, padding=0)
    assert found.tolist() == [[3, 4, 5, 2, 0, 0]] * 2
    cut = greedy(counting, torch.zeros(1), num_tokens=3, start=1, end=2, padding=0)
    assert cut.tolist() == [[3, 4, 5]]


def test_greedy_decoding_of_lanes_is_that_of_each():
    weights = torch.randn(3, V, V, generator=torch.Generator().manual_seed(1))

    def written(weight: torch.Tensor) -> torch.Tensor:
        return greedy(
            lambda reads, place: weight[reads[:, place]], torch.zeros(2), num_tokens=4, start=1, end=2, padding=0
        )

    together = torch.func.vmap(written)(weights)
    assert torch.equal(together, torch.stack([written(weight) for weight in weights]))
