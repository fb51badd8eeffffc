"""Curvature against closed forms on quadratics and dense Hessians of models in training; edges against recurrences."""

import math

import pytest
import torch

from bench.entry import load_class
from bench.optimizers import OPTIMIZERS
from bench.probes.curvature import CriticalSharpness, Curvature, HessianEigenvalue, Sharpness, flat, loss_of, unflat
from tests.bench.probes.models import model_in_training, quadratic
from tests.trials import language_trial, trial

HESSIAN = torch.diag(torch.tensor([4.0, 1.0, -9.0, 0.5], dtype=torch.float64))
AT = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
PRECONDITIONER = torch.tensor([8.0, 0.1, 1.0, 2.0], dtype=torch.float64)


def measured(probe, model) -> dict[str, float]:
    return {name: value.item() for name, value in probe.measure_model(model).items()}


def test_of_a_quadratic_sharpness_is_the_largest_eigenvalue_of_what_is_preconditioned():
    assert measured(HessianEigenvalue(), quadratic(HESSIAN, AT, lr=0.1))["hessian_eigenvalue"] == pytest.approx(4)
    plain = measured(Sharpness(), quadratic(HESSIAN, AT, lr=0.25))
    assert plain == pytest.approx({"sharpness": 4, "edge_ratio": 0.5})
    preconditioned = measured(Sharpness(), quadratic(HESSIAN, AT, lr=0.25, preconditioner_N=PRECONDITIONER))
    assert preconditioned == pytest.approx({"sharpness": 10, "edge_ratio": 1.25})


@pytest.mark.parametrize(
    ("one", "steps"),
    [
        (trial(optimizer="adam", lr=0.05), 5),
        pytest.param(trial(optimizer="sgd_momentum", method="sigma_reparam_qk"), 5, marks=pytest.mark.repetition),
        pytest.param(language_trial(workload_params={"width": 4, "batch_size": 2}), 4, marks=pytest.mark.repetition),
    ],
)
def test_of_a_model_in_training_it_is_that_of_the_dense_hessian(one, steps):
    model = model_in_training(one, steps=steps)
    loss = loss_of(model, batch="fixed", examples=16)
    of_row = torch.func.grad(lambda row_N: loss(unflat(row_N, model.params)))
    hessian_NN = torch.func.jacrev(of_row)(flat(model.params))
    root_N = flat({name: model.update.preconditioner[name] for name in model.params}).sqrt()
    for probe, name, dense in (
        (HessianEigenvalue(iterations=30), "hessian_eigenvalue", hessian_NN),
        (Sharpness(iterations=30), "sharpness", hessian_NN / root_N / root_N[:, None]),
    ):
        expected = torch.linalg.eigvalsh(dense)[-1].item()
        assert measured(probe, model)[name] == pytest.approx(expected, rel=1e-3)
    added_N = flat({name: model.update.after[name] - p for name, p in model.params.items()})
    grad_N = of_row(flat(model.params))
    found, lr = measured(Curvature(), model), model.update.lr.item()
    ratio = (added_N @ hessian_NN @ added_N / -(added_N @ grad_N)).item()
    along_gradient = (grad_N @ (hessian_NN @ grad_N / root_N.square()) / grad_N.square().sum()).item()
    assert found["update_curvature"] == pytest.approx(ratio / lr, rel=1e-6)
    assert found["update_edge_ratio"] == pytest.approx(ratio / 2, rel=1e-6)
    assert found["gradient_curvature"] == pytest.approx(along_gradient, rel=1e-6)
    assert found["gradient_edge_ratio"] == pytest.approx(along_gradient / model.update.edge.item(), rel=1e-6)


def test_adams_preconditioner_is_what_its_first_update_is_divided_by():
    """m_1 = (1 - beta1) g, so that the update is lr P^-1 m_1 / (1 - beta1) (1 - beta1) = lr m_1 / P."""
    model = model_in_training(trial(optimizer="adam", lr=0.05), steps=0)
    for name, p in model.params.items():
        first = 0.1 * model.update.grads[name]
        expected = p - 0.05 * first / model.update.preconditioner[name]
        torch.testing.assert_close(model.update.after[name], expected, rtol=1e-6, atol=1e-9)


def radius(name: str, sharpness: float, lr: float, decay: float, **constants) -> float:
    """Spectral radius of one step of an optimizer on the loss `sharpness` x^2 / 2, P = 1: how |x| grows in the end.

    By steps of `update` itself; of Adam's kind the recurrence of first moment and x, the second moment held.
    """
    optimizer = load_class(OPTIMIZERS[name])(**constants, decays="all")
    if not name.startswith("adam"):
        knobs = {"lr": torch.tensor(lr).double(), "weight_decay": torch.tensor(decay).double()}
        x = torch.ones(1, 1, dtype=torch.float64)
        state, norms = optimizer.init("w.weight", x), []
        for step in range(600):
            x, state = optimizer.update("w.weight", x, sharpness * x, state, knobs, torch.tensor(step))
            norms.append(abs(x.item()))
        return (max(norms[500:]) / max(norms[200:300])) ** (1 / 300)
    b, kept = optimizer.beta1, 1 - (decay if name == "adamw_independent" else lr * decay)
    step = torch.tensor([[kept - lr * (1 - b) * sharpness, -lr * b], [(1 - b) * sharpness, b]]).double()
    return torch.linalg.eigvals(step).abs().max().item()


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("sgd", {}),
        ("sgd_momentum", {}),
        ("sgd_momentum", {"momentum": 0.5}),
        ("sgd_nesterov", {}),
        ("adamw", {}),
        ("adamw", {"beta1": 0.5}),
        ("adamw_independent", {"beta1": 0.95}),
    ],
)
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_a_quadratic_shrinks_below_the_edge_and_grows_above(name, constants, decay):
    lr = 0.01
    optimizer = load_class(OPTIMIZERS[name])(**constants)
    knobs = {"lr": lr, "weight_decay": decay, "lr_factor": 1.0}
    edge = optimizer.edge({key: torch.tensor(value).double() for key, value in knobs.items()}).item()
    assert radius(name, 0.98 * edge, lr, decay, **constants) < 1 - 1e-6
    assert radius(name, 1.02 * edge, lr, decay, **constants) > 1 + 1e-6


def test_edges_are_those_that_are_published():
    def edge(name: str, decay: float = 0.0, lr: float = 0.01, **constants) -> float:
        knobs = {"lr": lr, "weight_decay": decay, "lr_factor": 1.0}
        optimizer = load_class(OPTIMIZERS[name])(**constants)
        return optimizer.edge({key: torch.tensor(value).double() for key, value in knobs.items()}).item() * lr

    found = [edge("sgd"), edge("sgd_momentum"), edge("sgd_nesterov"), edge("rmsprop")]
    assert found == pytest.approx([2, 3.8, 3.8 / 2.8, 2])
    assert [edge("adam", beta1=beta1) for beta1 in (0.5, 0.9, 0.95)] == pytest.approx([6, 38, 78])
    assert edge("adamw", 0.1) == pytest.approx(37.981)
    assert edge("sgd", 0.1) == pytest.approx(2 - 0.1 * 0.01)


def test_optimizers_that_change_the_update_say_no_edge_that_they_inherit():
    says = {name: load_class(target)().says("edge") for name, target in OPTIMIZERS.items()}
    known = {"sgd", "sgd_momentum", "sgd_nesterov", "rmsprop", "adam", "adamw", "adamw_independent"}
    assert {name for name, one in says.items() if one} == known


def test_along_its_top_eigenvector_gradient_descent_has_curvatures_equal_to_sharpness():
    at = torch.tensor([2.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    model = quadratic(HESSIAN, at, lr=0.1)
    found = measured(Curvature(), model)
    assert found == pytest.approx(
        {"gradient_curvature": 4, "gradient_edge_ratio": 0.2, "update_curvature": 4, "update_edge_ratio": 0.2}
    )
    critical = measured(CriticalSharpness(), model)
    assert critical["critical_sharpness"] == pytest.approx(4, rel=1 / 16)
    assert critical["critical_edge_ratio"] == pytest.approx(0.2, rel=1 / 16)


@pytest.mark.parametrize("lr", [0.004, 0.04, 0.4, 4.0])
def test_critical_sharpness_is_where_the_loss_along_the_update_rises(lr):
    """Of a quadratic 2 / lr_c = d' H d / d' g, here at most the sharpness, from whatever learning rate it starts."""
    hessian = HESSIAN.abs()
    model = quadratic(hessian, AT, lr=lr)
    grad = hessian @ AT
    expected = (grad @ hessian @ grad / grad.square().sum()).item()
    found = measured(CriticalSharpness(iterations=14), model)
    assert found["critical_sharpness"] == pytest.approx(expected, rel=1 / 16)
    assert expected <= 9


def test_where_the_loss_never_rises_critical_sharpness_is_not_known():
    falls = quadratic(-torch.eye(4, dtype=torch.float64), AT, lr=0.1)
    assert all(math.isnan(value) for value in measured(CriticalSharpness(), falls).values())


def test_the_batch_of_a_step_is_another_than_the_fixed_one():
    model = model_in_training(trial(), steps=5)
    fixed, of_step = (measured(Curvature(batch=batch), model) for batch in ("fixed", "step"))
    assert fixed["gradient_curvature"] != of_step["gradient_curvature"]
    at_start = model_in_training(trial(), steps=0)
    fixed, of_step = (measured(Curvature(batch=batch), at_start) for batch in ("fixed", "step"))
    assert fixed == of_step
