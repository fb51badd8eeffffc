"""What every probe keeps to: quantities within their bounds, equal parts that merge, lanes that equal a loop."""

import pytest
import torch

from bench.entry import load_class, parameters
from bench.probes import DEFAULT_PROBES, PROBES, build_probes
from bench.probes.base import Probe, measured_by, observe
from bench.suite.needs import NEEDS
from bench.testing.model_probes import MODEL_PROBE_PROPERTIES
from bench.testing.probes import PROBE_PROPERTIES, attention
from bench.trace import TRAINING_QUANTITIES, Quantity

BUILT = {name: load_class(target)() for name, target in PROBES.items()}
OF_ATTENTION = [name for name, probe in BUILT.items() if probe.is_of_attention]
OF_MODELS = [name for name in BUILT if name not in OF_ATTENTION]


@pytest.fixture(params=PROBES)
def probe(request) -> Probe:
    return BUILT[request.param]


def test_the_default_probes_are_those_of_earlier_stores():
    """Ids of trials do not say which they are: others need a name of their own."""
    assert set(DEFAULT_PROBES) == {"entropy", "frobenius_norm", "row_mass", "logit_variance", "max_logit"}
    assert set(DEFAULT_PROBES) <= PROBES.keys()


def test_probes_have_words_a_source_and_the_cadence(probe):
    assert type(probe).__doc__
    assert probe.source != "not stated"
    assert "every" in parameters(type(probe))
    assert probe.every is None or not probe.is_of_attention  # those that are dear have a cadence of their own


@pytest.mark.parametrize("words", PROBE_PROPERTIES)
@pytest.mark.parametrize("name", OF_ATTENTION)
def test_every_probe_of_attention_has_every_property(name, words):
    PROBE_PROPERTIES[words].check(BUILT[name])


@pytest.mark.parametrize("words", MODEL_PROBE_PROPERTIES)
@pytest.mark.parametrize("name", OF_MODELS)
def test_every_probe_of_the_model_has_every_property(name, words):
    MODEL_PROBE_PROPERTIES[words].check(BUILT[name])


def test_what_a_probe_of_the_model_needs_is_known():
    assert {need for name in OF_MODELS for need in BUILT[name].needs} <= NEEDS.keys()


def test_no_two_probes_trace_one_quantity():
    names = [*TRAINING_QUANTITIES, *(name for probe in BUILT.values() for name in probe.quantities)]
    assert len(names) == len(set(names))


def quantity(**changes) -> Quantity:
    return Quantity(title="t", unit="1", low=0.0, high=float, definition="d", **changes)


@pytest.mark.parametrize(
    ("quantities", "message"),
    [
        ({"a": quantity()}, "'a' must be either per_layer or over_layers"),
        ({"a": quantity(per_layer=True, over_layers=("b", "mean"))}, "'a' must be either per_layer or over_layers"),
        ({"a": quantity(over_layers=("b", "mean"))}, "'a' is over layers of 'b', which must be measured per layer"),
    ],
)
def test_quantities_declared_by_halves_are_refused(quantities, message):
    with pytest.raises(ValueError, match=message):
        type("Odd", (Probe,), {"quantities": quantities})


def test_a_probe_that_measures_what_it_does_not_declare_is_told_so():
    fields = {"quantities": {"a": quantity(per_layer=True)}, "measure": lambda self, layer: {"b": torch.ones(())}}
    with pytest.raises(ValueError, match="Odd measured b; required, as declared: a"):
        observe([type("Odd", (Probe,), fields)()], attention(0))


@pytest.mark.parametrize("name", OF_ATTENTION)
def test_several_probes_give_what_each_gives(name):
    probe, layer = BUILT[name], attention(3)
    others = [one for one in build_probes(None) if one != probe] + [probe]
    place = list(measured_by(others)).index(next(iter(measured_by([probe]))))
    assert observe(others, layer)[place] == observe([probe], layer)[0]
