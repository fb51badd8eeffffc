"""What every probe keeps to: quantities within their bounds, equal parts that merge, lanes that equal a loop."""

import pytest
import torch

from bench.entry import load_class, parameters
from bench.probes import DEFAULT_PROBES, PROBES, build_probes
from bench.probes.base import Probe, measured_by, observe
from bench.testing.probes import PROBE_PROPERTIES, attention
from bench.trace import TRAINING_QUANTITIES, Quantity


@pytest.fixture(params=PROBES)
def probe(request) -> Probe:
    return load_class(PROBES[request.param])()


def test_the_default_probes_are_those_of_earlier_stores():
    """Ids of trials do not say which they are: others need a name of their own."""
    assert set(DEFAULT_PROBES) == {"entropy", "frobenius_norm", "row_mass", "logit_variance", "max_logit"}
    assert set(DEFAULT_PROBES) <= PROBES.keys()


def test_probes_have_words_a_source_and_the_cadence(probe):
    assert type(probe).__doc__
    assert probe.source != "not stated"
    assert "every" in parameters(type(probe))
    assert probe.every is None


@pytest.mark.parametrize("words", PROBE_PROPERTIES)
def test_every_probe_has_every_property(probe, words):
    PROBE_PROPERTIES[words].check(probe)


def test_no_two_probes_trace_one_quantity():
    names = [*TRAINING_QUANTITIES, *(name for probe in build_probes(None) for name in probe.quantities)]
    assert len(names) == len(set(names))


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
