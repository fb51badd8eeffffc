"""Outcome, Result: how a training run ended and what it gave; RESULT_COLUMNS: as a row of a frame."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.held_out import HELD_OUT, HELD_OUT_COLUMNS
from bench.trial import KINDS, KNOB_NAMES, Trial, canonical_json, plain_float


class Outcome(enum.StrEnum):
    """How a trial ended. `completed` and `diverged` are results; the others are lost and run again on resume.

    aborted: frozen at the alarm of a detector, which its run asked for; such a run asks for no trial that one aborted.
    pruned: trained no further by the rule of its suite (analysis.scores.pruning), as earlier settings were better.
    """

    COMPLETED = "completed"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    ABORTED = "aborted"
    PRUNED = "pruned"

    @property
    def is_result(self) -> bool:
        return self in (Outcome.COMPLETED, Outcome.DIVERGED)

    @property
    def is_stopped(self) -> bool:
        """Whether it was ended on purpose before its last step, and so is neither a result nor a failure."""
        return self in (Outcome.ABORTED, Outcome.PRUNED)


RESULT_OUTCOMES: tuple[str, ...] = tuple(outcome.value for outcome in Outcome if outcome.is_result)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished trial gave, beside its trace. held_out: by HELD_OUT_COLUMNS; what was not measured may lack.

    rung_losses: by number of steps, what a rule that prunes saw of it; none where no rule did.
    """

    trial: Trial
    outcome: Outcome
    initial_loss: float | None
    final_loss: float | None  # +inf if diverged, None if lost
    diverged_step: int | None = None
    aborted_step: int | None = None  # the last step that was made
    pruned_step: int | None = None  # the last step that was made
    rung_losses: Mapping[int, float] = dataclasses.field(default_factory=dict)
    held_out: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    wall_s: float
    message: str = ""  # why a trial was lost
    failures: tuple[str, ...] = ()  # why attempts at its pack failed, oldest first

    def __post_init__(self) -> None:
        assert self.held_out.keys() <= set(HELD_OUT_COLUMNS), f"no measures on held-out data: {[*self.held_out]}"
        object.__setattr__(self, "held_out", dict.fromkeys(HELD_OUT_COLUMNS) | dict(self.held_out))

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can carry, and `from_dict` read; infinities as text, held-out measures side by side."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["trial"] = self.trial.to_dict()
        plain["outcome"] = self.outcome.value
        plain["failures"] = list(self.failures)
        plain |= plain.pop("held_out")
        plain["rung_losses"] = {str(rung): loss for rung, loss in self.rung_losses.items()}
        for name in _OF_STOPPED:  # as programs wrote it that stopped none, so that it is held as the same result
            if not plain[name] and plain[name] != 0:
                del plain[name]
        for name in LOSSES:
            plain[name] = None if plain[name] is None else plain_float(plain[name])
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Result:
        """Inverse of `to_dict`; what earlier programs did not measure is None."""
        fields: dict[str, Any] = {**dict.fromkeys(LOSSES), "failures": (), **plain}
        for name in LOSSES:
            fields[name] = None if fields[name] is None else float(fields[name])
        fields["held_out"] = {name: fields.pop(name) for name in HELD_OUT_COLUMNS if name in fields}
        fields["trial"] = Trial.from_dict(plain["trial"])
        fields["outcome"] = Outcome(plain["outcome"])
        fields["failures"] = tuple(fields["failures"])
        fields["rung_losses"] = {int(rung): loss for rung, loss in plain.get("rung_losses", {}).items()}
        return cls(**fields)

    def row(self) -> dict[str, Any]:
        """One row of RESULT_COLUMNS."""
        trial = self.trial
        return {
            "trial_id": trial.id,
            **trial.labels,
            **trial.knobs.to_dict(),
            "settings": canonical_json(trial.settings),
            "seed": trial.seed,
            "num_steps": trial.num_steps,
            "outcome": self.outcome.value,
            "diverged_step": self.diverged_step,
            "aborted_step": self.aborted_step,
            "initial_loss": self.initial_loss,
            "final_loss": self.final_loss,
            **self.held_out,
            "wall_s": self.wall_s,
        }

    def search_row(self) -> dict[str, Any]:
        """One row of SEARCH_COLUMNS."""
        seen = canonical_json({str(rung): loss for rung, loss in self.rung_losses.items()})
        return self.row() | {"pruned_step": self.pruned_step, "rung_losses": seen}


# One row a trial; the frame that scores are computed from. Values are names of Polars types.
RESULT_COLUMNS: dict[str, str] = {
    "trial_id": "String",
    **dict.fromkeys(KINDS, "String"),  # label: the name, with its parameters where they differ from the defaults
    **dict.fromkeys(KNOB_NAMES, "Float64"),  # grad_clip +inf: no clipping
    "settings": "String",  # JSON object of the other knobs that the suite varies, by name; "{}": none
    "seed": "Int64",
    "num_steps": "Int64",
    "outcome": "String",  # a value of Outcome
    "diverged_step": "Int64",  # null unless diverged
    "aborted_step": "Int64",  # null unless aborted
    "initial_loss": "Float64",  # loss at step 0, before any update
    "final_loss": "Float64",  # mean over the workload's last `final_loss_steps` losses; +inf if diverged, null if lost
    **dict.fromkeys(HELD_OUT_COLUMNS, "Float64"),  # null where the workload does not measure it
    "wall_s": "Float64",  # the trial's share of its pack's seconds
}

# What searches decide from.
SEARCH_COLUMNS: dict[str, str] = {
    **RESULT_COLUMNS,
    "pruned_step": "Int64",  # null unless pruned
    "rung_losses": "String",  # JSON object, by number of steps: what a rule that prunes saw of it; "{}": none did
}

_OF_STOPPED = ("aborted_step", "pruned_step", "rung_losses")

# The columns that may be infinite.
LOSSES: tuple[str, ...] = (
    "initial_loss",
    "final_loss",
    *(
        name
        for one, measure in HELD_OUT.items()
        if measure.diverged == math.inf
        for name in (measure.initial, one)
        if name
    ),
)
