"""Probes of one step's gradients and update: their norms by role, g^2/v of Adam, kurtosis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Gt

from bench.lazy import torch
from bench.probes.model import Model, ModelProbe, Tensors
from bench.roles import ROLES, role_of
from bench.trace import Quantity, at_most_one, unbounded

if TYPE_CHECKING:
    from torch import Tensor

_OF_ROLES = {
    "weight_norm": ("Norm of weights", "2-norm of the parameters before the step"),
    "gradient_norm": ("Norm of gradients", "2-norm of the gradient as the optimizer gets it, clipped"),
    "update_norm": ("Norm of the update", "2-norm of what the step adds to the parameters, decay included"),
    "relative_update": ("RMS(update) / RMS(weight)", "RMS of what the step adds, by that of the parameters before it"),
}


def _by_role() -> dict[str, Quantity]:
    return {
        f"{name}_{role}": Quantity(
            title=f"{title}: {role}",
            unit="1",
            low=0.0,
            high=unbounded,
            definition=f"{definition}; over all parameters of the role {role!r} (bench.roles)",
        )
        for name, (title, definition) in _OF_ROLES.items()
        for role in ROLES
    }


def _norm(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt()


@dataclass(frozen=True, kw_only=True)
class Norms(ModelProbe):
    """Norms of weights, gradients and updates, and how large an update is beside its weights, by role of parameters.

    One further step of training: measured every 20 steps it costs about 5%.
    """

    source = "this project"
    needs = ("whole batches",)
    quantities: ClassVar = _by_role()

    def measure_model(self, model: Model) -> dict[str, Tensor]:
        update, values = model.update, {}
        for role in ROLES:
            names = [name for name in model.params if role_of(name) == role]
            if not names:
                values |= {f"{name}_{role}": model.missing() for name in _OF_ROLES}
                continue
            weight = _norm(model.params[name] for name in names)
            added = _norm(update.after[name] - model.params[name] for name in names)
            values |= {
                f"weight_norm_{role}": weight,
                f"gradient_norm_{role}": _norm(update.grads[name] for name in names),
                f"update_norm_{role}": added,
                f"relative_update_{role}": torch.where(weight > 0, added / weight, torch.nan),
            }
        return {name: values[name] for name in self.quantities}


@dataclass(frozen=True, kw_only=True)
class LayerGradients(ModelProbe):
    """Norms of gradients by layer of attention, and before the first: where a spike begins.

    In self-supervised vision transformers it begins at the patches, and reaches the last layers tens of steps later.
    One further step of training, as `norms`, which it shares where both are measured.
    """

    source = "Chen et al. 2021 (MoCo v3), Sec. 4.2"
    needs = ("whole batches",)
    quantities: ClassVar = {
        "layer_gradient_norm": Quantity(
            title="Norm of a layer's gradient",
            unit="1",
            low=0.0,
            high=unbounded,
            definition="2-norm of the gradient of all parameters of the layer, as the optimizer gets it, clipped",
            per_layer=True,
        ),
        "input_gradient_norm": Quantity(
            title="Norm of the input's gradient",
            unit="1",
            low=0.0,
            high=unbounded,
            definition="2-norm of the gradient of what lies before the first layer: embeddings, patches, positions, "
            "with their biases; as the optimizer gets it, clipped",
        ),
    }

    def measure_model(self, model: Model) -> dict[str, Tensor]:
        grads = model.update.grads
        of_layers = [
            _norm(grad for name, grad in grads.items() if name.startswith(prefix)) for prefix in model.layer_prefixes
        ]
        of_input = [grad for name, grad in grads.items() if name.startswith("embed")]
        return {
            "layer_gradient_norm": torch.stack(of_layers),
            "input_gradient_norm": _norm(of_input) if of_input else model.missing(),
        }


@dataclass(frozen=True, kw_only=True)
class SecondMoments(ModelProbe):
    """How far squared gradients g^2 exceed Adam's average v of them: a stale v lets updates jump.

    threshold: of the share of elements with g^2 / v above it, v without this gradient. One further step of training:
    measured every 20 steps it costs about 5%. Nothing is traced of an optimizer without such an average.
    """

    source = "Wortsman et al. 2023 (2304.13013), Sec. 3.4; SPAM, Huang et al. 2025"
    needs = ("second moments", "whole batches")
    quantities: ClassVar = {
        "moment_ratio_rms": Quantity(
            title="RMS of g / sqrt(v)",
            unit="1",
            low=0.0,
            high=unbounded,
            definition="sqrt(mean of g^2 / v) over all parameters, v with this gradient and corrected for its start; 1 "
            "where gradients do not change",
        ),
        "moment_ratio_rms_embedding": Quantity(
            title="RMS of g / sqrt(v): embedding",
            unit="1",
            low=0.0,
            high=unbounded,
            definition="`moment_ratio_rms` of embeddings alone, the early layer of 2304.13013",
        ),
        "moment_spike_share": Quantity(
            title="Share of gradients above v",
            unit="share",
            low=0.0,
            high=at_most_one,
            definition="share of all parameters whose g^2 exceeds v, without this gradient and corrected for its "
            "start, by more than `threshold` times (SPAM: 5000); nothing is said of step 0",
        ),
    }

    threshold: Annotated[float, Gt(0)] = 5000.0

    def measure_model(self, model: Model) -> dict[str, Tensor]:
        update = model.update
        if not update.moments_after:
            return dict.fromkeys(self.quantities, model.missing())
        embedded = {name: one for name, one in update.grads.items() if role_of(name) == "embedding"}
        ratios = _ratios(update.grads, update.moments_before)
        is_first = model.step == 0
        return {
            "moment_ratio_rms": _ratios(update.grads, update.moments_after).mean().sqrt(),
            "moment_ratio_rms_embedding": (
                _ratios(embedded, update.moments_after).mean().sqrt() if embedded else model.missing()
            ),
            "moment_spike_share": torch.where(is_first, torch.nan, (ratios > self.threshold).to(ratios.dtype).mean()),
        }


@dataclass(frozen=True, kw_only=True)
class GradientKurtosis(ModelProbe):
    """How heavy the tails of a gradient's elements are. One further step of training, as `norms`."""

    source = "this project"
    needs = ("whole batches",)
    quantities: ClassVar = {
        "gradient_kurtosis": Quantity(
            title="Kurtosis of gradients",
            unit="1",
            low=1.0,
            high=unbounded,
            definition="mean over query and key weights of all layers of mean(g^4) / mean(g^2)^2 over the "
            "weight's elements: 3 if they are normal, their number if one alone is not 0",
        ),
    }

    def measure_model(self, model: Model) -> dict[str, Tensor]:
        grads = [one for name, one in model.update.grads.items() if role_of(name) in ("query", "key")]
        return {"gradient_kurtosis": torch.stack([kurtosis(one) for one in grads]).mean()}


def kurtosis(values: Tensor) -> Tensor:
    """mean(x^4) / mean(x^2)^2, in [1, size], a scalar; 1 of zeros."""
    relative = values / values.abs().amax().clamp_min(torch.finfo(values.dtype).tiny)
    second, fourth = relative.square().mean(), relative.pow(4).mean()
    return torch.where(second > 0, fourth / second.square().clamp_min(torch.finfo(values.dtype).tiny), 1.0)


def _ratios(grads: Tensors, moments: Tensors) -> Tensor:
    """g^2 / v of all elements in one row; 0 where v is 0, as of tokens that were never seen."""
    parts = [
        torch.where(moments[name] > 0, grad.square() / moments[name], torch.zeros_like(grad)).reshape(-1)
        for name, grad in grads.items()
        if name in moments
    ]
    return torch.cat(parts)
