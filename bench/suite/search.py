"""The adaptive search that a suite asks for instead of its whole grid: `search: edge`, or a mapping with parameters.

The values of the searched knob say its range, and which values there are where the search keeps to the grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_serializer, model_validator

from bench.entry import build
from bench.search import SEARCHES
from bench.suite.entry import resolve
from bench.suite.errors import problem, reject, relocated, show, suggest
from bench.suite.kinds import Kind

if TYPE_CHECKING:
    from bench.search.base import Search

KIND = Kind(word="search", entries=SEARCHES, base="bench.search.base:Search")
KNOBS = ("lr", "weight_decay", "grad_clip", "init_scale")  # positive numbers of which any fraction is a value
FROM_SUITE = {"low": "the knob's values", "high": "the knob's values", "grid": "on_grid", "seeds": "the suite's seeds"}


class SearchPlan(BaseModel):
    """Which search, over which knob, and what it may use; its other parameters are the search's own."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    name: str = Field(description="edge, sensitivity or tune")
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
        return {"name": self.name, "knob": self.knob, "on_grid": self.on_grid, **minutes, **self.params}

    @property
    def params(self) -> dict[str, Any]:
        """What the suite says of the search's own parameters."""
        return dict(self.__pydantic_extra__ or {})

    def build(self, values: Sequence[float], seeds: Sequence[int]) -> Search:
        """The search over a knob of these values. Raises ValidationError with the problems of the plan."""
        problems = []
        if self.knob not in KNOBS:
            hint = suggest(self.knob, KNOBS, existing="knobs that can be searched")
            problems.append(problem(f"knob {show(self.knob)} can't be searched; {hint}", loc=("knob",)))
        for name, source in FROM_SUITE.items():
            if name in self.params:
                problems.append(problem(f"{name} comes from {source}; remove it", loc=(name,), at_key=True))
        if problems:
            reject(*problems)
        low, high = min(values), max(values)
        if not 0 < low < high < float("inf"):
            reject(problem(f"a search needs two or more values of {self.knob}, its range, all above 0", loc=("knob",)))
        is_on_grid = self.on_grid or self.name == "sensitivity"
        given = build(SEARCHES, resolve(KIND, {"name": self.name, **self.params}, allow_code=False))
        grid = tuple(sorted(values)) if is_on_grid else ()
        return dataclasses.replace(given, low=low, high=high, seeds=tuple(seeds), grid=grid)


def build_search(plan: SearchPlan, values: Sequence[float], seeds: Sequence[int]) -> Search:
    """`SearchPlan.build`, its problems placed under `search`."""
    try:
        return plan.build(values, seeds)
    except ValidationError as error:
        reject(*(relocated(details, "search") for details in error.errors(include_url=False)))
