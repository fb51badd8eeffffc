"""The dense loss of every method has a product with its Hessian: that of gradients nearby, by finite differences."""

import pytest
import torch

from bench.derivatives import hessian_product, with_gradient
from bench.training.lane import LaneProgram
from bench.training.lanes import knob_tensors
from bench.training.model_view import model_of
from bench.training.pack import Pack
from tests.repetitions import EACH_METHOD
from tests.trials import language_trial, trial


def model_at_start(one):
    program = LaneProgram.of(one)
    zero, scale = torch.tensor(0), torch.tensor(5.0, dtype=torch.float64)
    lane = program.start(torch.tensor(one.seed), scale)
    drawn = program.workload.batches(torch.tensor([one.seed]), torch.tensor([0]))
    batch = {name: t[0, 0].double() if t.is_floating_point() else t[0, 0] for name, t in drawn.items()}
    knobs = knob_tensors(Pack(trials=(one,)), torch.float64, torch.device("cpu"))
    return model_of(program, lane, batch, batch, {name: t[0] for name, t in knobs.items()}, zero)


@pytest.mark.parametrize("method", EACH_METHOD)
def test_products_with_the_hessian_are_differences_of_gradients(method):
    model = model_at_start(trial(method=method))
    generator = torch.Generator().manual_seed(0)
    direction = {
        name: torch.randn(p.shape, generator=generator, dtype=torch.float64) for name, p in model.params.items()
    }

    def loss(params):
        return model.loss_on(params, model.fixed_batch)

    def gradient(step: float) -> torch.Tensor:
        at = {name: p + step * direction[name] for name, p in model.params.items()}
        return torch.cat([g.reshape(-1) for g in with_gradient(lambda params: (loss(params), ()), at)[0].values()])

    _, product = hessian_product(loss, model.params, direction)
    found = torch.cat([p.reshape(-1) for p in product.values()])
    assert found.isfinite().all()
    expected = (gradient(1e-5) - gradient(-1e-5)) / 2e-5
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * expected.abs().max().item())


def test_a_model_that_multiplies_in_bfloat16_has_one_too():
    model = model_at_start(language_trial(workload_params={"precision": "bfloat16"}))
    _, product = hessian_product(lambda p: model.loss_on(p, model.fixed_batch), model.params, model.params)
    assert all(p.isfinite().all() for p in product.values())
