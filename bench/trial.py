"""Trial, Knobs, Outcome: one training run, immutable, named by a content hash of all that defines it."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.held_out import HELD_OUT, HELD_OUT_COLUMNS

# Raised whenever the mathematics of training changes, so that old and new results never mix under one id.
TRIAL_VERSION = 1

# What trials did before entries had these parameters. Such a value is no part of the id, so that stores of earlier
# versions hold results of what a suite asks for with it; a trial without the parameter has it (bench.entry.build).
EARLIER: Mapping[str, Any] = {
    "decays": "all",
    "attention_dropout": 0.0,
    "query_is_key": False,
    "merged_query_key": False,
    "num_batches": None,
}

# A trial that completed blew up if its final loss lies above its loss at init by more than this share of it.
BLOWN_UP_MARGIN = 0.1

_IMPORT_MARK = "imported from "  # no method of ours or of a user's own code has a name with spaces


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


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A named entry (a method, workload, optimizer, schedule or intervention) with every parameter resolved."""

    name: str
    params: Mapping[str, Any]
    digest: str = ""  # of the source file of an entry that is not ours, of data; the revision of one that changed
    label: str = ""  # what tables show; not part of the trial's id
    swept: tuple[str, ...] = ()  # the parameters that the suite varies as knobs; as the label, not part of the id
    # Of the suite, where data that the parameters name may lie; what they are is in the digest, so no store keeps it.
    folder: str = dataclasses.field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", dict(sorted(self.params.items())))
        object.__setattr__(self, "label", self.label or self.name)
        object.__setattr__(self, "swept", tuple(self.swept))

    def __hash__(self) -> int:
        return hash((self.name, canonical_json(self.params), self.digest))

    def to_dict(self, *, labels: bool = True) -> dict[str, Any]:
        """Plain data that JSON can carry; labels: with what is not part of the trial's id."""
        plain = {"name": self.name, "params": dict(self.params), "digest": self.digest}
        if labels:
            return plain | {"label": self.label, "swept": self.swept}
        new = {name: value for name, value in self.params.items() if name not in EARLIER or value != EARLIER[name]}
        return plain | {"params": new}


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """The lane knobs of a trial: each enters the step as a tensor with one value a lane."""

    lr: float
    warmup_steps: float = 0.0
    weight_decay: float = 0.0
    grad_clip: float = float("inf")
    init_scale: float = 1.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, float(getattr(self, field.name)))

    def to_dict(self) -> dict[str, float]:
        """The knobs by name."""
        return {name: getattr(self, name) for name in KNOB_NAMES}


KNOB_NAMES: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Knobs))


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a trial is made of, one entry a kind. A kind that may be None is no part of the id of a trial without it."""

    workload: Choice
    method: Choice
    optimizer: Choice
    schedule: Choice
    intervention: Choice | None = None  # none: the untouched twin

    @property
    def choices(self) -> dict[str, Choice]:
        """The entry of each kind that there is, in the order of KINDS."""
        entries = {kind: getattr(self, kind) for kind in KINDS}
        return {kind: choice for kind, choice in entries.items() if choice is not None}

    @property
    def labels(self) -> dict[str, str]:
        """What tables show of each of KINDS; "" of one that there is not."""
        return dict.fromkeys(KINDS, "") | {kind: choice.label for kind, choice in self.choices.items()}


KINDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Choices))
OPTIONAL_KINDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Choices) if field.default is None)
# What tables show of a kind of runs of others that do not say which entry it was.
UNNAMED: dict[str, str] = {kind: "" if kind in OPTIONAL_KINDS else "unknown" for kind in KINDS}


@dataclass(frozen=True, kw_only=True)
class Trial(Choices):
    """One training run. `seed` decides the initial weights and the data; `probe_every` and `probes` what is traced.

    probes: None, which is no part of the id, for those of bench.probes.DEFAULT_PROBES.
    """

    knobs: Knobs
    seed: int
    probe_every: int
    probes: tuple[Choice, ...] | None = None

    @property
    def num_steps(self) -> int:
        """Steps of training: every workload declares the parameter `num_steps`."""
        return self.workload.params["num_steps"]

    @property
    def settings(self) -> dict[str, Any]:
        """The knobs beyond Knobs that the suite varies: parameters of the trial's choices, by the suite's names."""
        entries = self.choices.values()
        return {name: choice.params[name.rpartition(".")[2]] for choice in entries for name in choice.swept}

    @functools.cached_property
    def id(self) -> str:
        """16 hexadecimal digits: SHA-256 of the canonical JSON of all fields but labels."""
        return hashlib.sha256(canonical_json(self.to_dict(labels=False)).encode()).hexdigest()[:16]

    @property
    def as_earlier(self) -> Trial:
        """What an earlier version made of the same suite: parameters of EARLIER have the values that they stand for."""
        return dataclasses.replace(self, **{kind: _earlier(entry) for kind, entry in self.choices.items()})

    def to_dict(self, *, labels: bool = True) -> dict[str, Any]:
        """Plain data that JSON can carry, and `from_dict` read; infinities as text."""
        return {
            "version": TRIAL_VERSION,
            **{kind: choice.to_dict(labels=labels) for kind, choice in self.choices.items()},
            "knobs": {name: _plain_float(number) for name, number in self.knobs.to_dict().items()},
            "seed": self.seed,
            "probe_every": self.probe_every,
            **({} if self.probes is None else {"probes": [probe.to_dict(labels=labels) for probe in self.probes]}),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Trial:
        """Inverse of `to_dict`. Raises ValueError for another version."""
        if plain["version"] != TRIAL_VERSION:
            raise ValueError(f"trial version {plain['version']}, this program reads {TRIAL_VERSION}")
        choices = {kind: Choice(**plain[kind]) for kind in KINDS if kind in plain}
        knobs = Knobs(**{name: float(value) for name, value in plain["knobs"].items()})
        probes = tuple(Choice(**probe) for probe in plain["probes"]) if "probes" in plain else None
        return cls(**choices, knobs=knobs, seed=plain["seed"], probe_every=plain["probe_every"], probes=probes)


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
            plain[name] = None if plain[name] is None else _plain_float(plain[name])
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


def canonical_json(plain: Any) -> str:
    """JSON with sorted keys and no spaces; equal data give equal text. Raises ValueError for NaN and infinities."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def _earlier(choice: Choice) -> Choice:
    values = {name: value for name, value in EARLIER.items() if name in choice.params}
    return dataclasses.replace(choice, params={**choice.params, **values})


def _plain_float(number: float) -> float | str:
    return number if number - number == 0 else str(number)


def import_mark(name: str) -> str:
    """The name of the method of every trial of an import; its label is what the file calls the method."""
    return f"{_IMPORT_MARK}{name}"


def import_name(method: str) -> str | None:
    """Which import a trial with a method of this name is of; None for our own."""
    return method.removeprefix(_IMPORT_MARK) if method.startswith(_IMPORT_MARK) else None
