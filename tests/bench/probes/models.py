"""Models as probes see them: of a trial's first lane in training, and of a quadratic loss that a test writes down."""

import torch

from bench.probes.model import Model, Update
from bench.training.model_view import model_of
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.training.tree import map_tensors
from bench.trial import Trial


def model_in_training(one: Trial, *, steps: int, dtype: str = "float64") -> Model:
    """The model of a trial after so many steps."""
    run = PackRun(Pack(trials=(one,)), dtype=dtype)
    run.advance(max_steps=steps)
    lane, batch, fixed, knobs = (
        map_tensors(tree, lambda t: t[0])
        for tree in (run._lanes, run._stacked.batch(run._chunk, torch.tensor([steps])), run._steps.fixed, run._knobs)
    )
    return model_of(run.program, lane, batch, fixed, knobs, torch.tensor(steps))


def quadratic(
    hessian_NN: torch.Tensor,
    at_N: torch.Tensor,
    *,
    lr: float,
    edge: float | None = None,
    preconditioner_N: torch.Tensor | None = None,
    after_N: torch.Tensor | None = None,
) -> Model:
    """The model of the loss x' H x / 2 at a point, before a step of (preconditioned) gradient descent unless told."""
    grad_N = hessian_NN @ at_N
    divisor_N = torch.ones_like(at_N) if preconditioner_N is None else preconditioner_N
    update = Update(
        grads={"x": grad_N},
        after={"x": at_N - lr * grad_N / divisor_N if after_N is None else after_N},
        lr=torch.tensor(lr, dtype=torch.float64),
        preconditioner={"x": divisor_N},
        edge=torch.tensor(2 / lr if edge is None else edge, dtype=torch.float64),
        moments_before={},
        moments_after={},
    )
    return Model(
        params={"x": at_N},
        num_layers=1,
        layer_prefixes=(),
        num_heads=1,
        seed=torch.tensor(0),
        step=torch.tensor(3),
        step_batch={"none": torch.zeros(1)},
        fixed_batch={"none": torch.zeros(1)},
        scales_of_layers=list,
        update_of_step=lambda: update,
        loss_on=lambda params, batch: params["x"] @ hessian_NN @ params["x"] / 2,
    )
