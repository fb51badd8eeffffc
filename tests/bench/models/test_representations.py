"""What representations are worth: closed forms, brute force, invariances, and lanes as a loop."""

import math

import pytest
import torch

from bench.models.representations import (
    NUM_NEIGHBOURS,
    RIDGE,
    effective_rank,
    inverse,
    neighbours_accuracy,
    probe_accuracy,
    ridge,
)

NUM_CLASSES = 4


def clusters(count: int, *, seed: int, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (count, 6) around a centre for each class, with their classes; no axis stands still."""
    centres = 2 * torch.randn(NUM_CLASSES, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % NUM_CLASSES
    return centres[labels] + spread * torch.randn(count, 6, generator=generator, dtype=torch.float64), labels


def sets(spread: float = 3.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return *clusters(80, seed=0, spread=spread), *clusters(40, seed=1, spread=spread)


@pytest.mark.parametrize("measure", [neighbours_accuracy, probe_accuracy])
def test_classes_far_apart_are_told_apart_and_noise_is_not(measure):
    assert measure(*sets(spread=0.01), num_classes=NUM_CLASSES) == 1
    bank, queries = (torch.randn(count, 6, generator=torch.Generator().manual_seed(count)) for count in (4000, 1000))
    labels, query_labels = (torch.arange(len(x)) % NUM_CLASSES for x in (bank, queries))
    chance = measure(bank, labels, queries, query_labels, num_classes=NUM_CLASSES).item()
    assert chance == pytest.approx(1 / NUM_CLASSES, abs=4 * math.sqrt(0.25 * 0.75 / 1000))


def test_neighbours_are_counted_as_by_hand():
    bank, labels, queries, query_labels = sets()
    num_right = 0
    for query, label in zip(queries, query_labels, strict=True):
        cosine = torch.nn.functional.cosine_similarity(bank - bank.mean(0), (query - bank.mean(0))[None])
        votes = [0.0] * NUM_CLASSES
        for place in cosine.argsort(descending=True)[:NUM_NEIGHBOURS]:
            votes[int(labels[place])] += math.exp(cosine[place].item() / 0.07)
        num_right += votes.index(max(votes)) == int(label)
    assert 0 < num_right < 40
    assert neighbours_accuracy(bank, labels, queries, query_labels, num_classes=NUM_CLASSES) == num_right / 40


def test_the_probe_is_the_ridge_regression_of_scikit_learn():
    from sklearn.linear_model import Ridge

    bank, labels, queries, query_labels = sets()
    mean, std = bank.mean(0), bank.std(0, correction=0)
    one_hot = torch.nn.functional.one_hot(labels).double()
    fitted = Ridge(alpha=RIDGE * len(bank)).fit(((bank - mean) / std).numpy(), one_hot.numpy())
    predicted = fitted.predict(((queries - mean) / std).numpy()).argmax(axis=1)
    expected = (predicted == query_labels.numpy()).mean()
    assert 0.3 < expected < 1
    assert probe_accuracy(bank, labels, queries, query_labels, num_classes=NUM_CLASSES) == expected


def test_both_forms_of_the_ridge_are_one():
    """More channels than examples, and more examples than channels."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    for num_channels in (5, 12, 30):
        x = torch.randn(12, num_channels, generator=generator, dtype=torch.float64)
        normal = x.mT @ x / 12 + RIDGE * torch.eye(num_channels, dtype=torch.float64)
        expected = torch.linalg.solve(normal, x.mT @ y / 12)
        for invert in (inverse, torch.linalg.inv):
            torch.testing.assert_close(ridge(x, y, invert=invert), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_newtons_inverse_is_the_inverse(condition):
    basis, _ = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    values = torch.logspace(0, -math.log10(condition), 20, dtype=torch.float64)
    product = inverse(basis @ values.diag() @ basis.mT) @ (basis @ values.diag() @ basis.mT)
    torch.testing.assert_close(product, torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-12 * condition)


@pytest.mark.parametrize("measure", [neighbours_accuracy, probe_accuracy])
def test_what_all_representations_have_in_common_does_not_count(measure):
    bank, labels, queries, query_labels = sets()
    plain = measure(bank, labels, queries, query_labels, num_classes=NUM_CLASSES)
    assert measure(bank + 50, labels, queries + 50, query_labels, num_classes=NUM_CLASSES) == plain
    still = torch.full((1,), 3.0, dtype=torch.float64)  # a channel that is the same everywhere
    wider = [torch.cat([x, still.expand(len(x), 1)], dim=1) for x in (bank, queries)]
    assert measure(wider[0], labels, wider[1], query_labels, num_classes=NUM_CLASSES) == plain


def test_effective_rank_counts_directions():
    for rank in (1, 2, 5):
        hot = torch.eye(5, dtype=torch.float64)[torch.arange(5 * 100) % rank] if rank > 1 else None
        x = torch.arange(500.0, dtype=torch.float64)[:, None] * torch.ones(1, 5) if hot is None else hot
        expected = max(rank - 1, 1)  # as many points as directions, less their mean
        assert effective_rank(x).item() == pytest.approx(expected, rel=1e-9)
    assert effective_rank(torch.ones(10, 3)) == 0
    normal = torch.randn(100_000, 8, generator=torch.Generator().manual_seed(0))
    assert effective_rank(normal + 100).item() == pytest.approx(8, rel=1e-2)


def test_lanes_are_measured_as_one_by_one():
    bank, labels, queries, query_labels = sets()
    banks, of_queries = (torch.stack([x, x.flip(1) ** 3]) for x in (bank, queries))

    def measured(bank_NC: torch.Tensor, queries_QC: torch.Tensor) -> list[torch.Tensor]:
        of = (bank_NC, labels, queries_QC, query_labels)
        measures = [each(*of, num_classes=NUM_CLASSES) for each in (neighbours_accuracy, probe_accuracy)]
        return [*measures, effective_rank(queries_QC)]

    together = torch.func.vmap(measured)(banks, of_queries)
    for lane in range(2):
        alone = measured(banks[lane], of_queries[lane])
        for one, other in zip(together, alone, strict=True):
            torch.testing.assert_close(one[lane], other, rtol=1e-12, atol=0)
