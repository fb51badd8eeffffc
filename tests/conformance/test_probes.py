"""What every probe keeps to: quantities within their bounds, equal parts that merge, lanes that equal a loop."""

import dataclasses
import math

import pytest
import torch

from bench.entry import load_class, parameters
from bench.probes import DEFAULT_PROBES, PROBES, build_probes
from bench.probes.base import MERGES, Attention, Probe, measured_by, merge, observe, quantities_of
from bench.trace import TRAINING_QUANTITIES, Quantity
from bench.training.history import OVER_LAYERS

BATCH, HEADS, TOKENS = 4, 2, 5
MASKS = {
    "full": torch.ones(TOKENS, TOKENS, dtype=torch.bool),
    "causal": torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril(),
    "last_key_hidden": torch.ones(TOKENS, TOKENS, dtype=torch.bool).index_fill(1, torch.tensor([TOKENS - 1]), False),
}
ROWS = ("sum_to_one", "need_not")


@pytest.fixture(params=PROBES)
def probe(request) -> Probe:
    return load_class(PROBES[request.param])()


def attention(seed: int, mask: str = "causal", rows: str = "sum_to_one") -> Attention:
    generator = torch.Generator().manual_seed(seed)
    z_BHQK = 3 * torch.randn(BATCH, HEADS, TOKENS, TOKENS, generator=generator, dtype=torch.float64)
    p_BHQK = z_BHQK.masked_fill(~MASKS[mask], -math.inf).softmax(dim=-1)
    if rows == "need_not":
        p_BHQK = p_BHQK * torch.rand(BATCH, HEADS, TOKENS, 1, generator=generator, dtype=torch.float64)
    return Attention(z_BHQK=z_BHQK, p_BHQK=p_BHQK, mask_QK=MASKS[mask], rows_sum_to_one=rows == "sum_to_one")


def part(layer: Attention, batch: slice, heads: slice) -> Attention:
    return dataclasses.replace(layer, z_BHQK=layer.z_BHQK[batch, heads], p_BHQK=layer.p_BHQK[batch, heads])


def test_the_default_probes_are_those_of_earlier_stores():
    """Ids of trials do not say which they are: others need a name of their own."""
    assert set(DEFAULT_PROBES) == {"entropy", "frobenius_norm", "row_mass", "logit_variance", "max_logit"}
    assert set(DEFAULT_PROBES) <= PROBES.keys()


def test_probes_have_words_a_source_and_the_cadence(probe):
    assert type(probe).__doc__
    assert probe.source != "not stated"
    assert "every" in parameters(type(probe))
    assert probe.every is None


def test_quantities_are_declared_whole(probe):
    """Each is measured in every layer, or sums up one of the same probe that is."""
    assert measured_by([probe])
    for quantity in probe.quantities.values():
        assert quantity.title
        assert quantity.unit
        assert quantity.definition
        assert quantity.low <= quantity.high(TOKENS)
        assert quantity.merge in MERGES
        assert quantity.merge_heads in (None, *MERGES)
        assert quantity.per_layer == (quantity.over_layers is None)
        if quantity.over_layers is not None:
            of, statistic = quantity.over_layers
            assert of in measured_by([probe])
            assert statistic in OVER_LAYERS


def test_no_two_probes_trace_one_quantity():
    names = [*TRAINING_QUANTITIES, *(name for probe in build_probes(None) for name in probe.quantities)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("rows", ROWS)
def test_every_declared_quantity_is_measured_within_its_bounds(probe, mask, rows):
    measured = probe.measure(attention(0, mask, rows))
    assert list(measured) == list(measured_by([probe]))
    for name, value in measured.items():
        quantity = quantities_of([probe])[name]
        assert value.shape == ()
        assert quantity.low - 1e-12 <= value.item() <= quantity.high(TOKENS) + 1e-12


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_merging_equal_parts_of_batch_and_heads_equals_the_whole(probe, size, rows):
    layer = attention(1, rows=rows)
    parts = [
        [observe([probe], part(layer, slice(b, b + size), slice(h, h + 1))) for b in range(0, BATCH, size)]
        for h in range(HEADS)
    ]
    torch.testing.assert_close(merge([probe], parts), observe([probe], layer), rtol=1e-13, atol=0)


@pytest.mark.parametrize("rows", ROWS)
def test_lanes_equal_a_loop(probe, rows):
    """To rounding: a probe is batched over the lanes of a pack."""
    layers = [attention(seed, rows=rows) for seed in range(3)]

    def of(z_BHQK, p_BHQK):
        return observe([probe], dataclasses.replace(layers[0], z_BHQK=z_BHQK, p_BHQK=p_BHQK))

    z_LBHQK, p_LBHQK = (torch.stack([getattr(layer, name) for layer in layers]) for name in ("z_BHQK", "p_BHQK"))
    expected = torch.stack([observe([probe], layer) for layer in layers])
    torch.testing.assert_close(torch.func.vmap(of)(z_LBHQK, p_LBHQK), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("mask", ["causal", "last_key_hidden"])
def test_logits_of_keys_that_are_not_allowed_change_nothing(probe, mask):
    layer = attention(2, mask)
    changed = dataclasses.replace(layer, z_BHQK=layer.z_BHQK.masked_fill(~layer.mask_QK, 1e30))
    assert torch.equal(observe([probe], layer), observe([probe], changed))


def quantity(**changes) -> Quantity:
    return Quantity(title="t", unit="1", low=0.0, high=float, definition="d", **changes)


@pytest.mark.parametrize(
    ("quantities", "message"),
    [
        ({"a": quantity()}, "'a' must be either per_layer or over_layers"),
        ({"a": quantity(per_layer=True, over_layers=("b", "mean"))}, "'a' must be either per_layer or over_layers"),
        ({"a": quantity(over_layers=("b", "mean"))}, "'a' is over layers of 'b', which is not measured per layer"),
    ],
)
def test_quantities_declared_by_halves_are_refused(quantities, message):
    with pytest.raises(ValueError, match=message):
        type("Odd", (Probe,), {"quantities": quantities})


def test_a_probe_that_measures_what_it_does_not_declare_is_told_so():
    fields = {"quantities": {"a": quantity(per_layer=True)}, "measure": lambda self, layer: {"b": torch.ones(())}}
    with pytest.raises(ValueError, match="Odd measured b; it declares a"):
        observe([type("Odd", (Probe,), fields)()], attention(0))


def test_several_probes_give_what_each_gives(probe):
    layer = attention(3)
    others = [one for one in build_probes(None) if one != probe] + [probe]
    place = list(measured_by(others)).index(next(iter(measured_by([probe]))))
    assert observe(others, layer)[place] == observe([probe], layer)[0]
