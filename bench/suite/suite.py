"""Suite: what to compare, validated, and the trials that it stands for.

A suite is read from a YAML file (`load_suite`) or built in Python (`Suite(...)`). Either raises UsageError with one
line a problem: `file:line:column: message`, or `Suite: methods[1].width: message`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Lt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from bench.errors import UsageError
from bench.probes import DEFAULT_PROBES
from bench.suite.box import Box, Design
from bench.suite.box_checks import box_problems, budgets_too_large, parameter_sweeps
from bench.suite.box_points import BoxPoint, BoxTrial, box_trials, points_of
from bench.suite.contradictions import contradictions, too_large
from bench.suite.entry import data_as_recorded
from bench.suite.errors import dotted, explain, reject, show
from bench.suite.fields import PATH_ADVICE, Context, Entries, are_default_probes, leaving_paths, seeds_of
from bench.suite.file import Document, Loc, parse_document, read_document
from bench.suite.kinds import ENTRY_FIELDS, KINDS, TWINNED
from bench.suite.knobs import STRICT, FixedKnobs, KnobGrid, LogGrid, distinct
from bench.suite.labels import LabelsBySuiteName, label_problems
from bench.suite.search import SearchPlan, searcher_of
from bench.suite.size import most_trials, num_trials
from bench.suite.stop import StopPlan, stop_problems
from bench.suite.sweeps import Sweeps, assign
from bench.trial import BLOWN_UP_MARGIN, KNOB_NAMES, Choice, Knobs, Trial

if TYPE_CHECKING:
    from bench.search.base import Search


class Suite(BaseModel):
    """What to compare: workloads x methods x optimizers x schedules x knobs x seeds."""

    model_config = STRICT

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=100,
        description="the MLflow experiment; letters, digits, _ - .",
    )
    description: str = Field("", max_length=2000, description="one or two sentences: what is compared and why")
    workloads: Entries = Field(min_length=1, description="data, model, loss and number of steps")
    methods: Entries = Field(min_length=1, description="attention methods under test")
    optimizers: Entries = Field(min_length=1)
    schedules: Entries = Field(
        ("constant",), min_length=1, validate_default=True, description="factor on the learning rate after warmup"
    )
    interventions: Entries = Field(
        (),
        exclude_if=lambda entries: not entries,
        description="what is done to a run from a step on; every trial is trained without, too, beside those with each",
    )
    box: Box | None = Field(
        None, exclude_if=lambda box: box is None, description="knobs that are drawn together, instead of a grid of each"
    )
    design: Design | None = Field(
        None, exclude_if=lambda design: design is None, description="where the points of the box lie"
    )
    knobs: SerializeAsAny[KnobGrid]
    seeds: Annotated[
        tuple[Annotated[int, Ge(0), Lt(2**32)], ...], BeforeValidator(seeds_of), AfterValidator(distinct)
    ] = Field(min_length=1, description="a count (5 means 0 to 4) or a list of distinct whole numbers")
    search: SearchPlan | None = Field(
        None,
        description="grid (all of it), or adaptive search: edge, sensitivity, tune, of a box tune_box, or a mapping",
    )
    stop: StopPlan | None = Field(
        None,
        exclude_if=lambda stop: stop is None,
        description="which settings of a search are not trained to the end: median, halving, hyperband, wilcoxon, or a "
        "mapping; without it all are",
    )
    probe_every: int = Field(ge=1, description="steps from one measurement of attention to the next")
    probes: Entries = Field(
        DEFAULT_PROBES,
        validate_default=True,
        exclude_if=are_default_probes,
        description="what is measured of attention; with `every`, in steps of a probe's own",
    )
    blown_up_margin: float = Field(
        BLOWN_UP_MARGIN,
        ge=0,
        exclude_if=lambda margin: margin == BLOWN_UP_MARGIN,
        description="a trial blew up if it completed above its loss at init by more than this share of it; it is shown "
        "beside what diverged and decides nothing of training",
    )

    labels: LabelsBySuiteName = Field(
        {},
        exclude_if=lambda labels: not labels,
        description="short names of methods and workloads where people read, by their names here; math between $",
    )

    _sweeps: Sweeps = PrivateAttr()
    _entries: dict[str, tuple[Choice, ...]] = PrivateAttr()
    _search: Any = PrivateAttr(None)  # a Search
    _text: str | None = PrivateAttr(None)  # of its file
    _document: Document | None = PrivateAttr(None)  # that it was read from
    _recorded: Mapping[str, str] = PrivateAttr(
        {}
    )  # digests of the data of its workloads, as `data_as_recorded` has them

    if TYPE_CHECKING:  # names, mappings and numbers stand for what the fields hold

        def __init__(self, **fields: Any) -> None: ...

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal, wherever the suites were read from."""
        names = Suite.model_fields
        return isinstance(other, Suite) and all(getattr(self, name) == getattr(other, name) for name in names)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in Suite.model_fields if name != "labels"))

    @property
    def num_trials(self) -> int:
        """Trials of the grid or design, as bench.suite.size counts them; of a box that is searched `most_trials`."""
        return num_trials(self, self._sweeps)

    @property
    def most_trials(self) -> int:
        """What is trained at most: the grid, or the budgets of all searches."""
        return most_trials(self, self._sweeps)

    @property
    def entries(self) -> dict[str, tuple[Choice, ...]]:
        """The entries of each kind, with every combination of their parameters that knobs vary."""
        return self._entries

    @property
    def text(self) -> str:
        """Its file as it was read; of a suite made in Python, a file that says the same, in JSON, which is YAML."""
        return self._text or json.dumps(self.model_dump(mode="json"), indent=1)

    @property
    def searcher(self) -> Search:
        """What decides the values of the searched knob, for a suite with a search."""
        return self._search

    def with_budget(self, budget: int, *, allow_code: bool = False) -> Suite:
        """The same suite with another number of trials for each search. Raises UsageError if it has no search."""
        if self.search is None:
            raise UsageError(f"--budget is for adaptive searches; suite {self.name!r} trains its whole grid")
        plain = self.model_dump(mode="json")
        plain["search"]["budget"] = budget
        return Suite.model_validate(plain, context=Context(document=self._document, allow_code=allow_code))

    @property
    def own_entries(self) -> dict[tuple[str, int], Choice]:
        """The entries that are not shipped, under the field of the suite and the index there that each stands at."""
        return {
            (field, index): choice
            for field, kind in ENTRY_FIELDS.items()
            for index, choice in enumerate(getattr(self, field))
            if choice.name not in kind.entries
        }

    def place(self, loc: Loc) -> str:
        """Where a part such as ("methods", 1) stands: file, line and column; `methods[1]` of a suite made in Python."""
        if self._document is None:
            return f"Suite: {dotted(loc)}"
        line, column = self._document.position(loc, at_key=False)
        return f"{self._document.file_name}:{line}:{column}"

    def expand(self) -> tuple[Trial, ...]:
        """Every trial, each once, in the order of KINDS, other knobs, lr, seed; of a box, of KINDS, point and seed."""
        if self.box is not None:
            return tuple({one.trial.id: one.trial for one in self.box_trials}.values())
        others = [name for name in KNOB_NAMES if name != "lr"]
        settings = itertools.product(*(getattr(self.knobs, name) for name in others), self.knobs.lr)
        knobs = [Knobs(**dict(zip([*others, "lr"], setting, strict=True))) for setting in settings]
        return tuple(
            Trial(**choices, knobs=setting, seed=seed, **self.traced)
            for choices, setting, seed in itertools.product(self.combinations(), knobs, self.seeds)
        )

    @cached_property
    def box_points(self) -> tuple[BoxPoint, ...]:
        """The points of the box in the order of its design, those of a search's first round; none without a box."""
        return points_of(self)

    @cached_property
    def box_trials(self) -> tuple[BoxTrial, ...]:
        """The trials of the box with the points that they are at; points that come out equal share theirs."""
        assert self.box is not None
        with data_as_recorded(self._recorded):
            return tuple(box_trials(self, self.box, self.box_points, parameter_sweeps(self, self.box)[0]))

    @property
    def traced(self) -> dict[str, Any]:
        """The fields of every trial that say what is traced, whatever the order in which the suite names probes."""
        probes = tuple(sorted(self.probes, key=lambda probe: probe.label))
        return {"probe_every": self.probe_every, "probes": None if are_default_probes(probes) else probes}

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination of entries by the word of their kind, each a choice; None of an intervention: the twin."""
        options = [(*((None,) if kind in TWINNED else ()), *self.entries[kind]) or (None,) for kind in KINDS]
        for choices in itertools.product(*options):
            yield {kind.word: choice for kind, choice in zip(KINDS.values(), choices, strict=True)}

    @model_validator(mode="before")
    @classmethod
    def _without_knobs(cls, data: Any) -> Any:
        """A suite with a box may fix no knob beside it."""
        return {"knobs": {}} | data if isinstance(data, dict) and data.get("box") is not None else data

    @field_validator("knobs", mode="wrap")
    @classmethod
    def _beside_a_box(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> KnobGrid:
        has_box = "box" not in info.data or info.data["box"] is not None  # one that is broken is a box, too
        return FixedKnobs.model_validate(value) if has_box and isinstance(value, dict) else handler(value)

    @field_validator("search", mode="before")
    @classmethod
    def _whole_grid(cls, value: Any) -> Any:
        return None if value == "grid" else value

    @model_validator(mode="after")
    def _check(self) -> Suite:
        choices = {kind: getattr(self, kind) for kind in KINDS}
        self._sweeps, problems = assign(self.knobs.swept, choices, KNOB_NAMES)
        if problems := problems or ([] if self.box is not None else too_large(self)):
            reject(*problems)
        self._entries = {
            kind: tuple(variant for choice in entries for variant in self._sweeps.variants(kind, choice))
            for kind, entries in choices.items()
        }
        if (self.box is not None or self.design is not None) and (problems := box_problems(self)):
            reject(*problems)
        if problems := [*contradictions(self), *label_problems(self)]:
            reject(*problems)
        self._search = searcher_of(self.search, self.box, self.knobs, self.seeds)
        if problems := [*budgets_too_large(self), *stop_problems(self)]:
            reject(*problems)
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, data: Any, handler: ModelWrapValidatorHandler[Suite], info: ValidationInfo) -> Suite:
        # Defined last, so that it also sees what `_check` raises.
        try:
            return handler(data)
        except ValidationError as error:
            of_parts = KnobGrid.model_fields | Design.model_fields | StopPlan.model_fields
            known = (cls.model_fields, of_parts, LogGrid.model_fields)
            raise explain(error, known, info.context.document if info.context else None) from None


def load_suite(path: str | Path, *, allow_code: bool = False) -> Suite:
    """The suite in a YAML file. Raises UsageError. allow_code: import `package.module:Class` entries."""
    return suite_of(read_document(path), allow_code=allow_code)


def parse_suite(text: str, *, file_name: str, allow_code: bool = False) -> Suite:
    """The suite in the text of a YAML file, which messages call `file_name`; the rest as `load_suite`."""
    return suite_of(parse_document(text, file_name), allow_code=allow_code)


def suite_of(document: Document, *, allow_code: bool, recorded: Mapping[str, str] | None = None) -> Suite:
    """The suite of what was read of its file, as `load_suite`; recorded: as `data_as_recorded` has them."""
    recorded = recorded or {}
    with data_as_recorded(recorded):
        suite = Suite.model_validate(document.data, context=Context(document=document, allow_code=allow_code))
    for choice in suite.entries["workloads"]:  # values of a knob, too
        for name, value in leaving_paths(choice):
            raise UsageError(
                f"{document.file_name}: {name} {show(value)} leaves the folder that suites run in; {PATH_ADVICE}"
            )
    suite._text, suite._document, suite._recorded = document.text, document, recorded
    return suite
