"""What every attention method keeps to: bench.testing of each, and what only the shipped ones promise."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Method
from bench.testing.method_case import HEADS, MASK_NAMES, MethodCase
from bench.testing.methods import METHOD_PROPERTIES
from bench.testing.rows import FOLLOWS_LOGITS
from bench.testing.weights import finite_weights
from tests.repetitions import EACH_METHOD

NUM_TOKENS = HEADS.num_keys
DEPENDS_ON_POSITIONS = {"window_softmax", "cosformer"}


def with_name(name: str) -> Method:
    return load_class(METHODS[name])()


def case_of(name: str) -> MethodCase:
    return MethodCase(method=with_name(name))


@pytest.fixture(params=EACH_METHOD)
def name(request) -> str:
    return request.param


@pytest.mark.parametrize("words", METHOD_PROPERTIES)
def test_every_method_has_every_property(name, words):
    METHOD_PROPERTIES[words].check(case_of(name))


def test_what_rows_follow_from_is_declared(name):
    FOLLOWS_LOGITS.check(case_of(name))


@pytest.mark.parametrize("mask_name", MASK_NAMES)
def test_weights_are_shares(name, mask_name):
    """To the last places of float64; a user's method may round as float32 does."""
    case = case_of(name)
    p_BHQK = case.some_weights(case.masks[mask_name])
    assert (p_BHQK <= 1 + 1e-12).all()
    assert (p_BHQK.sum(dim=-1) > 0).all()
    if case.method.rows_sum_to_one:
        ones = torch.ones(p_BHQK.shape[:-1], dtype=torch.float64)
        torch.testing.assert_close(p_BHQK.sum(dim=-1), ones, rtol=1e-12, atol=0)


def num_tokens(z_BHQK: torch.Tensor) -> torch.Tensor:
    """Of each example, (B, 1, 1, 1): keys that no example sees are tokens, those that only one sees are padding."""
    is_seen_BK = z_BHQK.isfinite().any(dim=(1, 2))
    return (is_seen_BK | ~is_seen_BK.any(dim=0)).sum(dim=-1)[:, None, None, None]


ROW_MASSES = {
    "softmax_one": lambda z: z.logsumexp(dim=-1).sigmoid(),
    "sigmoid_attention": lambda z: (1 / (1 + num_tokens(z) * (-z).exp())).sum(dim=-1),
}


def test_row_masses_of_all_methods_whose_rows_need_not_sum_to_one_are_known():
    assert {name for name in METHODS if not with_name(name).rows_sum_to_one} == ROW_MASSES.keys()


def test_no_shipped_method_has_signed_rows():
    assert not [name for name in METHODS if with_name(name).rows_are_signed]


@pytest.mark.parametrize("mask_name", MASK_NAMES)
@pytest.mark.parametrize("name", ROW_MASSES)
def test_row_mass_has_its_closed_form(name, mask_name):
    case = case_of(name)
    mask = case.masks[mask_name]
    q_BHQD, k_BHKD = case.prepared(*case.queries_and_keys(0, mask), {})
    z_BHQK = (q_BHQD @ k_BHKD.mT).masked_fill(~mask.allowed_B1QK, -torch.inf)
    actual = case.method.weights(q_BHQD, k_BHKD, mask.allowed_B1QK, {}).sum(dim=-1)
    torch.testing.assert_close(actual, ROW_MASSES[name](z_BHQK), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", EACH_METHOD)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    scale=st.floats(-4, 4).map(lambda power: 10**power),
    sign=st.sampled_from([None, 1, -1]),
)
def test_weights_and_gradients_are_finite_at_every_scale(name, seed, scale, sign):
    """Between small and saturated lie features that are positive, yet too small to divide by."""
    case = MethodCase(method=with_name(name), is_single=True)
    mask = case.masks["full"]
    q_BHQD, k_BHKD = case.queries_and_keys(seed, mask)
    if sign is not None:
        q_BHQD, k_BHKD = sign * q_BHQD.abs(), sign * k_BHKD.abs()
    p_BHQK = finite_weights(case, scale * q_BHQD, scale * k_BHKD, mask, f"at scale {scale:g}")
    assert p_BHQK.isfinite().all()
    assert (p_BHQK >= 0).all()
    if case.method.rows_sum_to_one:
        torch.testing.assert_close(p_BHQK.sum(dim=-1), torch.ones(p_BHQK.shape[:-1]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", sorted(METHODS.keys() - DEPENDS_ON_POSITIONS))
def test_permuting_tokens_permutes_rows_and_columns(name):
    case = case_of(name)
    mask, state = case.masks["full"], case.state(1)
    q_BHQD, k_BHKD = case.queries_and_keys(4, mask)
    generator = torch.Generator().manual_seed(5)
    order_Q, order_K = (torch.randperm(NUM_TOKENS, generator=generator) for _ in "qk")
    permuted = case.weights(q_BHQD[:, :, order_Q], k_BHKD[:, :, order_K], mask, state)
    expected = case.weights(q_BHQD, k_BHKD, mask, state)[:, :, order_Q][..., order_K]
    torch.testing.assert_close(permuted, expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", sorted(DEPENDS_ON_POSITIONS))
def test_methods_that_depend_on_positions_do(name):
    case = case_of(name)
    mask = case.masks["full"]
    q_BHQD, k_BHKD = case.queries_and_keys(4, mask)
    flipped = case.weights(q_BHQD, k_BHKD.flip(2), mask, {}).flip(-1)
    assert not torch.allclose(flipped, case.weights(q_BHQD, k_BHKD, mask, {}))


def test_source_and_what_it_controls_are_stated(name):
    method = with_name(name)
    assert method.source != Method.source
    assert type(method).controls != Method.controls
    assert type(method).__doc__


def test_an_instance_is_frozen(name):
    method = with_name(name)
    for field in dataclasses.fields(method):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, field.name, None)


def test_names_and_parameters_are_read_without_torch():
    code = """
import sys
from bench.entry import load_class, parameters
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.workloads import WORKLOADS
for entries in (METHODS, OPTIMIZERS, SCHEDULES, WORKLOADS):
    for target in entries.values():
        entry_class = load_class(target)
        parameters(entry_class), entry_class(), entry_class.source
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, stdout=subprocess.PIPE)
    assert done.stdout == "False\n"
