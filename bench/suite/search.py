"""The adaptive search that a suite asks for instead of its whole grid: `search: edge`, or a mapping with parameters.

The values of the searched knob say its range, and which values there are where the search keeps to the grid. A search
over a box takes all knobs of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_serializer, model_validator

from bench.entry import build, load_class
from bench.search import SEARCHES
from bench.search.samplers import num_objectives
from bench.search.tune_box import BoxSearch, TuneBox
from bench.suite.entry import resolve
from bench.suite.errors import problem, reject, relocated, show, suggest
from bench.suite.kinds import Kind

if TYPE_CHECKING:
    from bench.search.base import KnobSearch, Search
    from bench.search.samplers import Space

KIND = Kind(word="search", entries=SEARCHES, base="bench.search.base:Search")
KNOBS = ("lr", "weight_decay", "grad_clip", "init_scale")  # positive numbers of which any fraction is a value
FROM_SUITE = {
    "low": "the knob's values",
    "high": "the knob's values",
    "grid": "on_grid",
    "seeds": "the suite's seeds",
    "space": "the suite's box",
}


class SearchPlan(BaseModel):
    """Which search, over which knob, and what it may use; its other parameters are the search's own."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    name: str = Field(description="edge, sensitivity or tune; over a box tune_box")
    knob: str = Field("lr", description=f"what is searched: {', '.join(KNOBS)}")
    on_grid: bool = Field(False, description="ask for the listed values only; sensitivity always does")
    gpu_minutes: Annotated[float, Gt(0)] | None = Field(
        None, description="minutes of training, all methods together, after which no new round begins"
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_serializer
    def _write(self) -> dict[str, Any]:
        minutes = {} if self.gpu_minutes is None else {"gpu_minutes": self.gpu_minutes}
        knob = {} if self.is_of_box else {"knob": self.knob, "on_grid": self.on_grid}
        return {"name": self.name, **knob, **minutes, **self.params}

    @property
    def is_of_box(self) -> bool:
        """Whether it moves all knobs of a box, not one knob."""
        return self.name in SEARCHES and issubclass(load_class(SEARCHES[self.name]), BoxSearch)

    @property
    def params(self) -> dict[str, Any]:
        """What the suite says of the search's own parameters."""
        return dict(self.__pydantic_extra__ or {})

    def build(self, values: Sequence[float], seeds: Sequence[int]) -> KnobSearch:
        """The search over a knob of these values. Raises ValidationError with the problems of the plan."""
        problems = self._from_suite()
        if self.is_of_box:
            problems.append(problem(f"{self.name} is over a box, which this suite lacks; write one", loc=("name",)))
        if self.knob not in KNOBS:
            hint = suggest(self.knob, KNOBS, existing="knobs that can be searched")
            problems.append(problem(f"knob {show(self.knob)} can't be searched; {hint}", loc=("knob",)))
        if problems:
            reject(*problems)
        low, high = min(values), max(values)
        if not 0 < low < high < float("inf"):
            reject(problem(f"a search needs two or more values of {self.knob}, its range, all above 0", loc=("knob",)))
        is_on_grid = self.on_grid or self.name == "sensitivity"
        grid = tuple(sorted(values)) if is_on_grid else ()
        return dataclasses.replace(self._given(), low=low, high=high, seeds=tuple(seeds), grid=grid)

    def build_over(self, box: Space, seeds: Sequence[int]) -> TuneBox:
        """The search over a box. Raises ValidationError as `build`."""
        problems = self._from_suite()
        for name in ("knob", "on_grid"):
            if name in self.model_fields_set:
                problems.append(problem(f"all knobs of the box are searched; remove {name}", loc=(name,), at_key=True))
        given = self._given()
        if not isinstance(given, TuneBox):
            problems.append(problem(f"{self.name} moves one knob; required tune_box beside a box", loc=("name",)))
        elif num_objectives(given.sampler) > 1 and len(seeds) < 2:
            words = f"{given.sampler} weighs the mean over seeds against the worst; required two seeds or more, got one"
            problems.append(problem(words, loc=("sampler",)))
        if problems:
            reject(*problems)
        search = dataclasses.replace(given, space=box, seeds=tuple(seeds))
        least = min(search.startup, box.num_settings) * len(seeds)
        loc = ("budget",) if "budget" in self.params else ("name",)
        if search.budget < least:
            design = f"{search.startup} settings x {len(seeds)} seeds = {search.startup * len(seeds)} trials"
            reject(problem(f"budget must be at least the first round of {design}, got {search.budget}", loc=loc))
        return search

    def _from_suite(self) -> list[Any]:
        """The problems of parameters that the suite gives elsewhere."""
        return [
            problem(f"{name} comes from {source}; remove it", loc=(name,), at_key=True)
            for name, source in FROM_SUITE.items()
            if name in self.params
        ]

    def _given(self) -> Any:
        """The search with the parameters that the plan names."""
        return build(SEARCHES, resolve(KIND, {"name": self.name, **self.params}, allow_code=False))


def searcher_of(plan: SearchPlan | None, box: Space | None, knobs: BaseModel, seeds: Sequence[int]) -> Search | None:
    """What decides the values of the searched knob, or of all of the box; None without a plan.

    knobs: of the suite, with the values of each under its name. Raises ValidationError with the problems of the plan,
    placed under `search`.
    """
    if plan is None:
        return None
    try:
        if box is not None:
            return plan.build_over(box, seeds)
        return plan.build(getattr(knobs, plan.knob, ()) or (0.0,), seeds)
    except ValidationError as error:
        reject(*(relocated(details, "search") for details in error.errors(include_url=False)))
