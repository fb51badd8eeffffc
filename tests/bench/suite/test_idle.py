"""What a suite can ask for that provably changes nothing: said once, and true of updates."""

from typing import Any

import pytest
import torch

from bench.entry import load_class
from bench.optimizers import OPTIMIZERS
from bench.suite import Suite
from bench.suite.idle import without_effect

DEAF = {name for name, target in OPTIMIZERS.items() if load_class(target).ignores_scale}


def words(methods: list[str], optimizers: list[Any]) -> list[str]:
    plain = {"name": "s", "workloads": ["in_context_regression"], "knobs": {"lr": [0.1]}, "seeds": 1, "probe_every": 5}
    return list(without_effect(Suite(**plain, methods=methods, optimizers=optimizers)))


def test_a_loss_that_is_scaled_under_adam_is_said_to_have_no_effect():
    (line,) = words(["softmax", "thermostat_loss", "thermostat_logits"], ["sgd", "adam", "adamw"])
    assert line.startswith("thermostat_loss scales the loss, which has no effect under adam, adamw:")
    assert words(["thermostat_loss"], ["sgd"]) == words(["thermostat_logits"], ["adamw"]) == []


def test_rates_and_decay_of_roles_that_no_parameter_has_are_said_to_have_no_effect():
    """A model of attention alone has no biases; only some methods add parameters, which is enough."""
    adamw = {"name": "adamw", "lr_bias": 0.5, "lr_query": 0.5, "no_decay": ["norm", "method"]}
    lines = words(["softmax", "qk_layernorm_free"], [adamw, "sgd"])
    assert [line.split(" of ")[0] for line in lines] == ["lr_bias", "no_decay norm"]
    assert all(line.endswith(f"no parameter of a model here has the role {role!r}")
               for line, role in zip(lines, ("bias", "norm"), strict=True))  # fmt: skip
    assert [line.split(" of ")[0] for line in words(["softmax"], [adamw])][-1] == "no_decay method"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_that_are_said_to_ignore_the_scale_of_gradients_do(name):
    """Four steps on gradients and on a thousand times those; eps is as good as none."""
    optimizer = load_class(OPTIMIZERS[name])()
    ends = []
    for factor in (1.0, 1000.0):
        generator = torch.Generator().manual_seed(0)
        p = torch.randn(4, 3, generator=generator, dtype=torch.float64)
        knobs = {
            key: torch.tensor(value).double()
            for key, value in {"lr": 0.1, "weight_decay": 0.0, "lr_factor": 1.0, "warmup_steps": 0.0}.items()
        }
        state = optimizer.init("layers.0.query.weight", p)
        for step in range(4):
            grad = factor * torch.randn(4, 3, generator=generator, dtype=torch.float64)
            p, state = optimizer.update("layers.0.query.weight", p, grad, state, knobs, torch.tensor(step))
        ends.append(p)
    if name in DEAF:
        torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-5)
    else:
        assert name not in ("adam", "adamw", "adamw_independent", "lion", "rmsprop")
