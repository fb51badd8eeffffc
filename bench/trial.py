"""Trial, Choice, Knobs: one training run, immutable, named by a content hash of all that defines it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    # Factors on the learning rate by role, and roles without weight decay (bench.optimizers.base, decay).
    "lr_query": None,
    "lr_key": None,
    "lr_value": None,
    "lr_output": None,
    "lr_mlp": None,
    "lr_embedding": None,
    "lr_readout": None,
    "lr_norm": None,
    "lr_method": None,
    "lr_bias": None,
    "lr_other": None,
    "no_decay": None,
}

# A trial that completed blew up if its final loss lies above its loss at init by more than this share of it.
BLOWN_UP_MARGIN = 0.1

_IMPORT_MARK = "imported from "  # no method of ours or of a user's own code has a name with spaces


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
            "knobs": {name: plain_float(number) for name, number in self.knobs.to_dict().items()},
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


def canonical_json(plain: Any) -> str:
    """JSON with sorted keys and no spaces; equal data give equal text. Raises ValueError for NaN and infinities."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def _earlier(choice: Choice) -> Choice:
    values = {name: value for name, value in EARLIER.items() if name in choice.params}
    return dataclasses.replace(choice, params={**choice.params, **values})


def plain_float(number: float) -> float | str:
    """A number that JSON can carry: infinities, and NaN, as text."""
    return number if number - number == 0 else str(number)


def import_mark(name: str) -> str:
    """The name of the method of every trial of an import; its label is what the file calls the method."""
    return f"{_IMPORT_MARK}{name}"


def import_name(method: str) -> str | None:
    """Which import a trial with a method of this name is of; None for our own."""
    return method.removeprefix(_IMPORT_MARK) if method.startswith(_IMPORT_MARK) else None
