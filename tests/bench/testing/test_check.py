"""The conformance suite finds what an entry of a user's own lacks, and says what to change and where."""

import inspect
import re
from dataclasses import dataclass

import pytest
import torch

from bench.errors import UsageError
from bench.methods.base import Method
from bench.methods.softmax import Softmax, masked_softmax
from bench.optimizers.schedules import Cosine
from bench.optimizers.sgd import SGD, SGDMomentum
from bench.probes.attention import MaxLogit, RowMass
from bench.testing.check import PROPERTIES, check_entry, refuse_broken
from bench.trace import Quantity
from bench.workloads.in_context_regression import InContextRegression
from tests.bench.suite.small_suite import suite
from tests.trials import SMALL


@dataclass(frozen=True, kw_only=True)
class Sharpened(Softmax):
    """Keys with little weight get a negative one."""

    a: float = 1.0

    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        p_BHQK = super().weights(q_BHQD, k_BHKD, mask_B1QK, state)
        return (1 + self.a) * p_BHQK - self.a * mask_B1QK / mask_B1QK.sum(-1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class SignedSharpened(Sharpened):
    rows_are_signed = True


@dataclass(frozen=True, kw_only=True)
class Louder(Softmax):
    gain: float = 5.0

    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return self.gain * super().weights(q_BHQD, k_BHKD, mask_B1QK, state)


@dataclass(frozen=True, kw_only=True)
class DeclaredLouder(Louder):
    rows_sum_to_one = False


@dataclass(frozen=True, kw_only=True)
class Shared(Softmax):
    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return super().weights(q_BHQD, k_BHKD, mask_B1QK, state).mean(dim=(0, 1))


@dataclass(frozen=True, kw_only=True)
class Unmasked(Softmax):
    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return self.logits(q_BHQD, k_BHKD, mask_B1QK, state).softmax(dim=-1)


@dataclass(frozen=True, kw_only=True)
class Squared(Softmax):
    """Its gradient at scale is 0 / 0."""

    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        squared_BHQK = self.logits(q_BHQD, k_BHKD, mask_B1QK, state).exp() * mask_B1QK
        return squared_BHQK / squared_BHQK.sum(-1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class LooksAtValues(Softmax):
    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        p_BHQK = super().weights(q_BHQD, k_BHKD, mask_B1QK, state)
        return p_BHQK / float(p_BHQK.detach().sum(-1).max())


@dataclass(frozen=True, kw_only=True)
class OtherFastPath(Softmax):
    def attend(self, q_BHQD, k_BHKD, v_BHKD, mask, state):
        return super().attend(q_BHQD, k_BHKD, v_BHKD, mask, state) * 1.001


@dataclass(frozen=True, kw_only=True)
class Idle(Softmax):
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class WrongSum(Method):
    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return masked_softmax(q_BHQD + k_BHKD, mask_B1QK)


@dataclass(frozen=True, kw_only=True)
class Misspelt(Softmax):
    def weights(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return softmx(q_BHQD @ k_BHKD.mT)  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


@dataclass(frozen=True, kw_only=True)
class DecaysAll(SGD):
    decays: str = "all"  # pyright: ignore[reportIncompatibleVariableOverride]


@dataclass(frozen=True, kw_only=True)
class Growing(SGDMomentum):
    def update(self, name, p, grad, state, knobs, step):
        p, state = super().update(name, p, grad, state, knobs, step)
        return p, state | {"last": grad}


@dataclass(frozen=True, kw_only=True)
class Dividing(SGD):
    def update(self, name, p, grad, state, knobs, step):
        return super().update(name, p, grad / grad.norm(), state, knobs, step)


@dataclass(frozen=True, kw_only=True)
class Above1(Cosine):
    def decay(self, progress, step, warmup_steps, num_steps):
        return 2 - progress


@dataclass(frozen=True, kw_only=True)
class ByMean(MaxLogit):
    quantities = {"top": Quantity(title="t", unit="1", low=-1e9, high=lambda n: 1e9, definition="d", per_layer=True)}  # noqa: RUF012

    def measure(self, layer):
        return {"top": super().measure(layer)["max_logit"]}


@dataclass(frozen=True, kw_only=True)
class ByRow(RowMass):
    def measure(self, layer):
        return {"row_mass": layer.p_BHQK.sum(dim=-1)}


@dataclass(frozen=True, kw_only=True)
class Unseeded(InContextRegression):
    def batches(self, seeds_S, steps_T):
        return {name: t + 1e-3 * torch.randn(()) for name, t in super().batches(seeds_S, steps_T).items()}


@pytest.mark.parametrize(
    ("field", "entry", "lacks", "words"),
    [
        ("methods", Sharpened(), "weights are not negative", "the least is -0.47; .* `rows_are_signed = True`"),
        ("methods", Louder(), "rows sum to what is declared", "they sum to 5; .* `rows_sum_to_one = False`"),
        ("methods", Shared(), "weights have their shape and dtype", r"shape \(12, 12\) .* = \(2, 3, 12, 12\)"),
        ("methods", Unmasked(), "masked keys get nothing", "a masked key gets 0.* under the mask causal"),
        ("methods", Squared(), "weights and gradients are finite at extremes", "weights are not finite where"),
        ("methods", LooksAtValues(), "lanes equal a loop", r"a value is looked at, as by float"),
        ("methods", OtherFastPath(), "the fast path equals the reference", "attend and weights @ v, of 20 tokens"),
        ("methods", Idle(), "every parameter changes training", "no other value of temperature changes training"),
        ("methods", WrongSum(), "gives weights, the same each time", "RuntimeError: The size of tensor"),
        ("methods", Misspelt(), "gives weights, the same each time", "NameError: name 'softmx' is not defined"),
        ("optimizers", DecaysAll(), "knobs change what they should", "weight_decay changes layers.*bias.*Decaying"),
        ("optimizers", Growing(), "state keeps its structure, inputs their values", "the state of .* last"),
        ("optimizers", Dividing(), "zeros leave all finite", "not finite after step 0 from parameters of zero"),
        ("schedules", Above1(), "factors lie in 0 to 1, warmup is linear", r"2 at step 0 .*, required one in \[0, 1\]"),
        ("probes", ByMean(), "equal parts merge to the whole", "parts of 1 sequences and one head merged"),
        ("probes", ByRow(), "what is declared is measured, within bounds", "row_mass has shape .*, required a scalar"),
        (
            "workloads",
            Unseeded(**SMALL),
            "makes a step, the same each time",
            "batches gives something else .* bench.randomness",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_an_entry_lacks_is_found_and_said_with_its_line(field, entry, lacks, words):
    found = next(finding for finding in check_entry(field, entry) if finding.property == lacks)
    assert not found.has_passed
    assert re.search(words, found.text), found.text
    first = inspect.getsourcelines(type(entry))[1]
    last = first + len(inspect.getsourcelines(type(entry))[0])
    assert any(f"test_check.py:{line} in " in found.text for line in range(first, last)), found.text


@pytest.mark.parametrize("method", [SignedSharpened(), DeclaredLouder()])
def test_what_a_method_declares_is_taken(method):
    assert [found for found in check_entry("methods", method) if not found.has_passed] == []


def test_a_suite_with_entries_that_lack_a_property_is_refused_in_one_line_each():
    broken = suite(methods=["softmax", Louder, Sharpened], schedules=[Above1])
    with pytest.raises(UsageError) as caught:
        refuse_broken(broken)
    louder, sharpened, above = str(caught.value).splitlines()
    assert louder.startswith(f"Suite: methods[1]: {__name__}:Louder lacks a property, 'rows sum to what is declared'")
    assert sharpened.startswith(f"Suite: methods[2]: {__name__}:Sharpened lacks a property, 'weights are not negative'")
    assert above.startswith(f"Suite: schedules[0]: {__name__}:Above1 lacks a property, 'factors lie in 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Unstated(InContextRegression):
    @property
    def attention(self):
        raise NotImplementedError


def test_a_workload_that_does_not_state_its_attention_is_refused_with_its_place():
    with pytest.raises(UsageError, match=r"Suite: workloads\[0\]: attention of .*Unstated.*: NotImplementedError"):
        refuse_broken(suite(workloads=[{"name": Unstated, "num_steps": 50}], methods=[SignedSharpened]))


def test_a_suite_whose_entries_keep_to_the_sample_is_taken():
    taken = ["softmax", SignedSharpened, DeclaredLouder, LooksAtValues]
    assert refuse_broken(suite(methods=taken)) is None
    with pytest.raises(UsageError, match="Sharpened") as refused:  # one more, which does not, alone is named
        refuse_broken(suite(methods=[*taken, Sharpened]))
    assert len(str(refused.value).splitlines()) == 1


def test_every_kind_has_properties_that_say_something():
    for properties in PROPERTIES.values():
        assert properties
        assert all(one.check.__doc__ for one in properties.values())
