"""Parameter groups of a model of PyTorch, those with two dimensions or more apart from the others."""

from typing import Any

from torch import nn


def decay_groups(model: nn.Module, weight_decay: float, decays: str = "matrices") -> list[dict[str, Any]]:
    """Groups for torch.optim: one for `all`; for `matrices` two, by dimensions, as nanoGPT's configure_optimizers."""
    if decays == "all":
        return [{"params": list(model.parameters()), "weight_decay": weight_decay}]
    return [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
