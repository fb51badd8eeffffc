"""Philox equals its published vectors and an independent implementation; draws are uniform, normal and independent."""

import numpy
import pytest
import torch
from scipy import stats

from bench.randomness import integers, normal, philox, stream_id

ONES = 0xFFFFFFFF
# Random123's known answers for philox4x32-10: counter, key, words (examples/kat_vectors).
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def words_of(counter, key) -> tuple[int, ...]:
    return tuple(int(word) for word in philox(tuple(map(torch.tensor, counter)), tuple(map(torch.tensor, key))))


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter, key, expected):
    assert words_of(counter, key) == expected


def philox_of_integers(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """The ten rounds in Python's unbounded integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 // 2**32 ^ c[1] ^ k[0], p1 % 2**32, p0 // 2**32 ^ c[3] ^ k[1], p0 % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return tuple(c)


def test_philox_equals_unbounded_integers_on_random_counters():
    draw = numpy.random.default_rng(0).integers(0, 2**32, size=(200, 6), dtype=numpy.int64)
    words = philox(
        tuple(torch.from_numpy(draw[:, i]) for i in range(4)), tuple(torch.from_numpy(draw[:, i]) for i in (4, 5))
    )
    expected = [philox_of_integers(tuple(row[:4]), tuple(row[4:])) for row in draw.tolist()]
    assert [tuple(row) for row in torch.stack(words, dim=-1).tolist()] == expected


def draw(seed: int, stream: str = "a", step: int = 0, shape: tuple[int, ...] = (40_000,)) -> torch.Tensor:
    return normal(torch.tensor(seed), stream, torch.tensor(step), shape)


def test_normals_equal_box_muller_of_the_words():
    seed, step = 7 + 5 * 2**32, 11
    expected = []
    for block in range(3):
        words = philox_of_integers((block, step, stream_id("a"), 0), (7, 5))
        u = (numpy.array(words) // 2**8 + 0.5) / 2**24
        for radius, angle in ((u[0], u[1]), (u[2], u[3])):
            length = numpy.sqrt(-2 * numpy.log(radius))
            expected += [length * numpy.cos(2 * numpy.pi * angle), length * numpy.sin(2 * numpy.pi * angle)]
    actual = draw(seed, step=step, shape=(12,))
    torch.testing.assert_close(actual.double(), torch.tensor(numpy.array(expected)), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**40 + 3])
def test_values_are_standard_normal(seed):
    values = draw(seed).double().numpy()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    n = len(values)
    # Standard errors of the moments of n normals: 1, sqrt 2, sqrt 15 and sqrt 96 over sqrt n.
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - expected) < 4 * (variance / n) ** 0.5
    assert abs(values).max() < 5.9


def test_uniform_words_pass_a_chi_squared_test():
    block = torch.arange(50_000)
    zero = torch.zeros_like(block)
    for word in philox((block, zero, zero, zero), (zero, zero)):
        for shift in (0, 12, 24):
            counts = numpy.bincount(((word >> shift) & 0xFF).numpy(), minlength=256)
            assert stats.chisquare(counts).pvalue > 1e-4


def test_seeds_streams_steps_and_neighbours_are_uncorrelated():
    values = [draw(0), draw(1), draw(2**32), draw(0, stream="b"), draw(0, step=1), draw(0, step=2**32 - 1)]
    values += [values[0].roll(shift) for shift in (1, 2, 4)]
    correlations = numpy.corrcoef(torch.stack(values).double().numpy())
    numpy.fill_diagonal(correlations, 0)
    assert abs(correlations).max() < 4.5 / len(values[0]) ** 0.5
    squares = numpy.corrcoef(torch.stack(values).double().square().numpy())
    numpy.fill_diagonal(squares, 0)
    assert abs(squares).max() < 4.5 / len(values[0]) ** 0.5


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"seed": 2**32}, {"seed": 2**62}, {"stream": "b"}, {"step": 1}, {"step": 2**32 - 1}]
)
def test_every_argument_matters(change):
    base = draw(0, shape=(8,))
    other = draw(**({"seed": 0, "shape": (8,)} | change))
    assert (base != other).all()


def test_seeds_and_steps_are_not_exchangeable():
    assert (draw(3, step=5, shape=(8,)) != draw(5, step=3, shape=(8,))).all()


def assert_same_normals(values: torch.Tensor, expected: torch.Tensor) -> None:
    """To the rounding of log, cos and sin, which may differ by where in memory a number lies."""
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-6)


def test_values_do_not_depend_on_what_else_is_asked():
    seeds, steps = torch.tensor([4, 2**33, 0]), torch.tensor([9, 0, 2**31, 5])
    together = normal(seeds, "a", steps[:, None], (2, 3))
    assert together.shape == (4, 3, 2, 3)
    for t, step in enumerate(steps):
        for s, seed in enumerate(seeds):
            assert_same_normals(together[t, s], normal(seed, "a", step, (2, 3)))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (4,), (5,), (2, 3)])
def test_shape_is_that_asked_for_and_a_longer_draw_starts_alike(shape):
    values = draw(0, shape=shape)
    assert values.shape == shape
    assert values.dtype == torch.float32
    assert_same_normals(values.flatten(), draw(0, shape=(100,))[: values.numel()])


def test_under_vmap_equals_a_loop():
    seeds, steps = torch.tensor([0, 5, 2**35]), torch.tensor([1, 0, 7])
    together = torch.func.vmap(lambda seed, step: normal(seed, "a", step, (3, 2)))(seeds, steps)
    expected = torch.stack([normal(seed, "a", step, (3, 2)) for seed, step in zip(seeds, steps, strict=True)])
    assert_same_normals(together, expected)


def test_global_state_is_neither_read_nor_written():
    state = torch.random.get_rng_state()
    before = draw(0, shape=(8,))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(1)
    assert torch.equal(draw(0, shape=(8,)), before)


def test_streams_of_a_model_have_different_numbers():
    names = ["data.x", "data.w", "init.embed", "init.readout"]
    for layer in range(100):
        names += [f"init.layers.{layer}.{role}.weight" for role in ("query", "key", "value")]
    assert len({stream_id(name) for name in names}) == len(names)


def draw_integers(high: int, seed: int = 0, stream: str = "a", step: int = 0, num: int = 60_000) -> torch.Tensor:
    return integers(torch.tensor(seed), stream, torch.tensor(step), (num,), high)


@pytest.mark.parametrize("high", [1, 2, 7, 1000, 2**31 - 1])
def test_integers_are_words_scaled_to_their_range(high):
    """floor(word high / 2^32), in Python's unbounded integers."""
    seed, step = 7 + 5 * 2**32, 11
    words = [word for block in range(3) for word in philox_of_integers((block, step, stream_id("a"), 0), (7, 5))]
    assert draw_integers(high, seed, step=step, num=12).tolist() == [word * high // 2**32 for word in words]


def test_the_largest_word_gives_the_largest_integer():
    """The product of the largest word and the largest `high` does not overflow."""
    word, high = torch.tensor(ONES), 2**31 - 1
    assert int((word * high) >> 32) == high - 1


@pytest.mark.parametrize("high", [2, 3, 10, 100, 257])
@pytest.mark.parametrize("seed", [0, 2**33])
def test_integers_are_uniform(high, seed):
    """Chi-squared over all values, at p > 1e-4."""
    values = draw_integers(high, seed)
    assert values.dtype == torch.int64
    counts = numpy.bincount(values.numpy(), minlength=high)
    assert len(counts) == high
    assert stats.chisquare(counts).pvalue > 1e-4


def test_integers_of_other_seeds_streams_steps_and_neighbours_are_independent():
    """Chi-squared of pairs over a table of 10 by 10, at p > 1e-4."""
    base = draw_integers(10)
    others = [draw_integers(10, seed=1), draw_integers(10, stream="b"), draw_integers(10, step=1), base.roll(1)]
    for other in others:
        assert stats.chisquare(numpy.bincount((10 * base + other).numpy(), minlength=100)).pvalue > 1e-4


def test_integers_do_not_depend_on_what_else_is_asked():
    seeds, steps = torch.tensor([4, 2**33, 0]), torch.tensor([9, 0, 2**31])
    together = integers(seeds, "a", steps[:, None], (2, 3), 1000)
    assert together.shape == (3, 3, 2, 3)
    for t, step in enumerate(steps):
        for s, seed in enumerate(seeds):
            assert torch.equal(together[t, s], integers(seed, "a", step, (2, 3), 1000))
            assert torch.equal(together[t, s].flatten(), integers(seed, "a", step, (50,), 1000)[:6])
