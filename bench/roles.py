"""Roles: what a parameter is for, by its name; probes measure by role, and optimizers have rates and decay by role."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["query", "key", "value", "output", "mlp", "embedding", "readout", "norm", "method", "bias", "other"]
ROLES: tuple[Role, ...] = get_args(Role)
RATES: dict[Role, str] = {role: f"lr_{role}" for role in ROLES}  # an optimizer's factors on the learning rate
BY_ROLE = (*RATES.values(), "no_decay")  # all settings by role that an optimizer may have
_PROJECTIONS: tuple[Role, ...] = ("query", "key", "value", "output", "readout")


def role_of(name: str) -> Role:
    """The role of a parameter by its name, of a layer or not.

    mlp: all matrices of MLPs. readout: all that stands under it, such as a projector. method: what a method adds, such
    as gammas, also to a projection. bias: those of projections; those of norms are the norm's.
    """
    *parts, last = name.split(".")
    if any(part == "norm" or part.startswith("norm_") for part in parts):
        return "norm"
    if "method" in parts:
        return "method"
    if "embed" in name.split("."):
        return "bias" if last == "bias" else "embedding"
    if not parts:
        return "readout" if last == "readout" else "other"
    if last in ("weight", "bias"):
        if parts[0] == "readout":
            parts = parts[:1]
        projections: dict[str, Role] = {role: role for role in _PROJECTIONS}
        known: Role = "mlp" if parts[-1].startswith("mlp") else projections.get(parts[-1], "other")
        return "bias" if last == "bias" else known
    return "method" if parts[0] == "readout" or parts[-1] in _PROJECTIONS or parts[-1].startswith("mlp") else "other"
