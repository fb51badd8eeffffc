"""What others call our columns: SYNONYMS, and which column of a file each of ours may be."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

# Names that others give our columns, in lower case; the first that a file has is meant.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "method": ("method", "attention", "attn", "attention_type", "attn_type", "attention_method", "mechanism"),
    "lr": ("lr", "learning_rate", "learning-rate", "peak_lr", "max_lr", "base_lr"),
    "seed": ("seed", "random_seed", "rng_seed", "manual_seed"),
    "final_loss": (
        "final_loss", "train/final_loss", "final_train_loss", "train/loss", "train_loss", "train-loss", "training_loss",
        "loss", "loss/train",
    ),
    "initial_loss": ("initial_loss", "loss_at_init", "init_loss", "train/initial_loss"),
    "val_loss": ("val_loss", "val/loss", "validation_loss", "eval/loss", "eval_loss", "test_loss", "loss/val"),
    "initial_val_loss": ("initial_val_loss", "val/initial_loss"),
    "val_accuracy": ("val_accuracy", "val/accuracy", "val_acc", "val/acc", "eval/accuracy", "eval_accuracy"),
    "optimizer": ("optimizer", "optimizer.name", "optimizer_name", "optim", "optim.name"),
    "schedule": ("schedule", "lr_schedule", "scheduler", "lr_scheduler"),
    "workload": ("workload", "dataset", "task"),
    "num_steps": ("num_steps", "max_steps", "total_steps", "train_steps", "max_iters", "num_iterations"),
    "warmup_steps": ("warmup_steps", "num_warmup_steps", "warmup_iters"),
    "weight_decay": ("weight_decay", "wd"),
    "grad_clip": ("grad_clip", "max_grad_norm", "gradient_clip", "gradient_clip_val", "clip_grad_norm"),
}  # fmt: skip
STEPS = ("step", "_step", "global_step", "iteration", "iter", "training_iteration", "epoch")
OF_SETTINGS = ("config", "params", "param", "hparams", "hyperparameters", "args", "cfg")  # first parts of names
LOSS_FALLBACKS = ("val_loss",)  # what is a final loss where there is no other


def likely_columns(names: Sequence[str], wanted: Collection[str]) -> dict[str, str]:
    """The column of `names` that each of `wanted` may be, by ours; what may be nothing of them is left out.

    A whole name goes before its last part ('lr' of 'optimizer.lr'); several columns with that part tell nothing.
    """
    by_name = {name.lower(): name for name in reversed(names)}
    found: dict[str, str] = {}
    for ours in wanted:
        theirs = next((by_name[name] for name in SYNONYMS.get(ours, ()) if name in by_name), None)
        if theirs is None and (theirs := _by_last_part(names, ours)) is None:
            continue
        if theirs not in found.values():
            found[ours] = theirs
    return found


def _by_last_part(names: Sequence[str], ours: str) -> str | None:
    meant = [
        name
        for name in names
        if (parts := re.split(r"[./]", name.lower()))[-1] in SYNONYMS.get(ours, ())
        and "loss" not in ours
        and ("." in name or parts[0] in OF_SETTINGS)
    ]
    return meant[0] if len(meant) == 1 else None
