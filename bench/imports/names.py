"""Our columns and what others call them: KNOWN_COLUMNS, SYNONYMS, and which column of a file each of ours may be."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from bench.outcome import RESULT_COLUMNS

REQUIRED_COLUMNS = ("method", "lr", "seed", "final_loss", "initial_loss")
ALIASES: dict[str, str] = {"loss": "final_loss", "learning_rate": "lr"}
_DERIVED = ("trial_id", "settings")  # of RESULT_COLUMNS; a file has `knobs` or the columns of its settings instead
KNOWN_COLUMNS = (*(name for name in RESULT_COLUMNS if name not in _DERIVED), "knobs", "source")
# Names that others give our columns, as `plain_name` has them; the first that a file has is meant.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "method": ("method", "attention", "attn", "attention_type", "attn_type", "attention_method", "mechanism"),
    "lr": ("lr", "learning_rate", "peak_lr", "max_lr", "base_lr"),
    "seed": ("seed", "random_seed", "rng_seed", "manual_seed"),
    "final_loss": (
        "final_loss", "train/final_loss", "final_train_loss", "train/loss", "train_loss", "training_loss",
        "loss", "loss/train", "metrics.loss", "metrics/loss", "summary.loss", "summary/loss", "metrics.train_loss",
        "metrics.final_loss", "summary.final_loss", "train.loss", "losses", "train_losses", "training_losses",
        "loss_history", "train_loss_history", "loss_curve",
    ),
    "initial_loss": ("initial_loss", "loss_at_init", "init_loss", "train/initial_loss", "loss_at_start", "start_loss",
                     "metrics.initial_loss", "summary.initial_loss"),
    "val_loss": ("val_loss", "val/loss", "validation_loss", "eval/loss", "eval_loss", "test_loss", "loss/val",
                 "val_losses", "eval_losses", "val_loss_history"),
    "initial_val_loss": ("initial_val_loss", "val/initial_loss"),
    "val_accuracy": ("val_accuracy", "val/accuracy", "val_acc", "val/acc", "eval/accuracy", "eval_accuracy"),
    "optimizer": ("optimizer", "optimizer.name", "optimizer_name", "optim", "optim.name", "opt"),
    "schedule": ("schedule", "lr_schedule", "scheduler", "lr_scheduler"),
    "workload": ("workload", "dataset", "task"),
    "num_steps": ("num_steps", "max_steps", "total_steps", "train_steps", "max_iters", "num_iterations"),
    "warmup_steps": ("warmup_steps", "num_warmup_steps", "warmup_iters"),
    "weight_decay": ("weight_decay", "wd"),
    "grad_clip": ("grad_clip", "max_grad_norm", "gradient_clip", "gradient_clip_val", "clip_grad_norm"),
}  # fmt: skip
# Columns that count steps; of several the first of these, as a step is finer than an epoch.
STEPS = (
    "step",
    "_step",
    "global_step",
    "train/global_step",
    "trainer/global_step",
    "train_step",
    "training_step",
    "iteration",
    "iter",
    "iters",
    "training_iteration",
    "update",
    "updates",
    "num_updates",
    "n_updates",
    "epoch",
)
EPOCHS = ("epoch",)  # of STEPS: whether the first, 0, is before any update or after the first epoch can't be told
# First parts of the names of settings. What a run measures of them, as train/lr, is none.
OF_SETTINGS = ("config", "params", "param", "hparams", "hparam", "hyperparameters", "hyperparams", "hyper_parameters",
               "hp", "args", "cfg", "settings", "overrides", "optim", "optimizer", "opt", "model",
               "trainer")  # fmt: skip
LOSS_FALLBACKS = ("val_loss",)  # what is a final loss where there is no other


_REMARK = r"\s*[(\[]([^()\[\]]*)[)\]]$"
_UNIT = r"\d|%|\u2030|log|percent"  # in a remark: 'lr [1e-3]', 'accuracy (%)', 'loss (log)'


def unit_of(name: str) -> str:
    """The remark in brackets behind a name that numbers are to be multiplied by or otherwise undone; else ""."""
    remark = re.search(_REMARK, name.strip())
    return remark[1] if remark is not None and re.search(_UNIT, remark[1].lower()) else ""


def plain_name(name: str) -> str:
    """A name as SYNONYMS have it: 'Learning Rate', 'learningRate' and 'learning-rate (peak)' are 'learning_rate'.

    What stands in brackets is a remark; but a name with `unit_of` stays whole: its numbers are not what it says.
    """
    bare = name.strip() if unit_of(name) else re.sub(_REMARK, "", name.strip())
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", re.sub(r"(?<=.)[./]value$", "", bare))
    return re.sub(r"[\s-]+", "_", parted).lower()


def is_extreme(name: str) -> bool:
    """Whether it is the least or the largest value of a run, which is not its last."""
    return re.search(r"\b(min|max|best)\b", name.lower()) is not None


def likely_columns(names: Sequence[str], wanted: Collection[str]) -> dict[str, str]:
    """The column of `names` that each of `wanted` may be, by ours; what may be nothing of them is left out.

    A whole name goes before its last part ('lr' of 'optimizer.lr'); several columns with that part tell nothing.
    """
    by_name = {plain_name(name): name for name in reversed(names) if not is_extreme(name)}
    likely: dict[str, str] = {}
    for ours in wanted:
        theirs = next((by_name[name] for name in SYNONYMS.get(ours, ()) if name in by_name), None)
        if theirs is None and (theirs := _by_last_part(names, ours)) is None:
            continue
        if theirs not in likely.values():
            likely[ours] = theirs
    return likely


def _by_last_part(names: Sequence[str], ours: str) -> str | None:
    meant = [name for name in names if _ends_as(plain_name(name), ours) and "loss" not in ours]
    return meant[0] if len(meant) == 1 else None


def _ends_as(plain: str, ours: str) -> bool:
    """Whether a setting's name ends as one of ours is called: 'optimizer.lr', 'cfg.optimizer.name'."""
    parts = re.split(r"[./]", plain)
    ends = (".".join(parts[start:]) for start in range(1, len(parts)))
    return ("." in plain or parts[0] in OF_SETTINGS) and any(end in SYNONYMS.get(ours, ()) for end in ends)
