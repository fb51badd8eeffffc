"""The gammas of every method: which methods have them, and whose they are."""

import dataclasses

import pytest
import torch

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Heads
from bench.methods.l2_attention import L2Attention
from bench.methods.linear import Linear, PlainLinear, SigmaReparam

NUM_HEADS, NUM_TOKENS, WIDTH = 3, 12, 4
HEADS = Heads(num_heads=NUM_HEADS, width=WIDTH, num_keys=NUM_TOKENS)
GAMMAS = {"qk_layernorm_free", "qk_layernorm_fixed", "qk_layernorm_weight_clipped", "qk_layernorm_gradient_clipped"}
GAMMAS |= {"sigma_reparam", "sigma_reparam_joint", "sigma_reparam_qk"}


@pytest.mark.parametrize("name", METHODS)
def test_gammas_start_as_ones_of_those_methods_that_have_them(name):
    """For queries and for keys, of one shape; the parametrisation's are those of its projection."""
    method = load_class(METHODS[name])()
    ones = torch.ones(WIDTH, NUM_HEADS * WIDTH, dtype=torch.float64)
    query, key = (
        method.linear(role).init(ones, lambda name, shape: torch.ones(shape, dtype=torch.float64))[0]
        for role in ("query", "key")
    )
    state = method.init_params(HEADS) | {"step": torch.tensor(0)}
    gammas = method.gammas(state, query, key)
    assert (gammas is not None) == (name in GAMMAS)
    if gammas is not None:
        assert gammas[0].shape == gammas[1].shape
        assert all((gamma == 1).all() for gamma in gammas)


@pytest.mark.parametrize("name", ["sigma_reparam_qk", "qk_layernorm_free"])
def test_gammas_of_queries_and_of_keys_are_told_apart(name):
    query, key = ({"weight": torch.zeros(1, 1), "gamma": torch.tensor(value)} for value in (2.0, 3.0))
    state = {"gamma_q": torch.tensor(2.0), "gamma_k": torch.tensor(3.0)}
    assert load_class(METHODS[name])().gammas(state, query, key) == (2.0, 3.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TiedSigma(L2Attention):
    """One projection, whose parametrisation has a gamma."""

    def linear(self, role: str) -> Linear:
        return SigmaReparam() if role == "query" else PlainLinear()


def test_tied_queries_and_keys_have_one_gamma():
    of_both = {"weight": torch.zeros(1, 1), "gamma": torch.tensor(2.0)}
    assert TiedSigma().gammas({}, of_both, of_both) == (2.0, 2.0)
