"""When settings of a search are not trained to the end: `stop: halving`, or a mapping with parameters.

stop: {worse_than: halving, first_step: 50, reduction_factor: 3}   # judged after 50, 150, 450, ... steps
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Lt
from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from analysis.scores.pruning import Rule, RuleName
from bench.suite.contradictions import shortest_run
from bench.suite.errors import problem

if TYPE_CHECKING:
    from bench.suite.suite import Suite

PRUNED_SEARCHES = ("tune", "tune_box")  # which look for the best setting alone


class StopPlan(BaseModel):
    """The rule by which settings that are worse than earlier ones are pruned, and after how many steps it looks."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    worse_than: RuleName = Field(description="median, halving, hyperband or wilcoxon (over seeds), as Optuna's pruners")
    first_step: Annotated[int, Ge(1)] | None = Field(
        None, description="steps after which settings are judged first; else a ninth of the workload's"
    )
    reduction_factor: Annotated[int, Ge(2)] = Field(
        3,
        description="each further look is after so many times the steps; of halving and hyperband, the best 1 in so "
        "many goes on",
    )
    startup: Annotated[int, Ge(1)] = Field(
        8, description="settings that are trained to the end with the same seeds before any is judged"
    )
    p_threshold: Annotated[float, Gt(0), Lt(1)] = Field(
        default=0.1, description="of wilcoxon, below which a setting is pruned"
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"worse_than": value} if isinstance(value, str) else value

    @model_serializer
    def _write(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("worse_than", *sorted(self.model_fields_set - {"worse_than"}))}

    def rule(self, num_steps: int) -> Rule:
        """The rule for trials of so many steps."""
        return Rule(
            worse_than=self.worse_than,
            first_step=self.first_step or max(num_steps // 9, 1),
            num_steps=num_steps,
            reduction_factor=self.reduction_factor,
            startup=self.startup,
            p_threshold=self.p_threshold,
        )


def stop_problems(suite: Suite) -> Iterator[Any]:
    """What keeps the suite from being stopped so, each with its place."""
    plan = suite.stop
    if plan is None:
        return
    if suite.search is None:
        why = "the scores of a box need" if suite.box is not None else "the leaderboard needs"
        needs = f"{why} the final loss of every trial"
        message = f"{needs}; stop is for search: {' or '.join(PRUNED_SEARCHES)}, which look for the best setting"
        yield problem(message, loc=("stop",), at_key=True)
        return
    if suite.search.name not in PRUNED_SEARCHES:
        message = f"{suite.search.name} needs the final loss of every trial; stop is for {' or '.join(PRUNED_SEARCHES)}"
        yield problem(message, loc=("stop",), at_key=True)
    elif suite.search.params.get("sampler") == "nsga2":
        message = "nsga2 weighs final losses of all seeds, which what is stopped lacks; required another sampler"
        yield problem(message, loc=("stop",), at_key=True)
    if suite.box is not None and any(name.rpartition(".")[2] == "num_steps" for name in suite.box.names):
        yield problem("settings of unlike num_steps can't be compared; remove one of them", loc=("stop",), at_key=True)
    shortest = shortest_run(suite)
    if (plan.first_step or 1) >= shortest:
        message = f"first_step must be below num_steps of every workload ({shortest}), got {plan.first_step or 1}"
        yield problem(message, loc=("stop", "first_step") if plan.first_step else ("stop",))
    yield from _of_wilcoxon(suite, plan)


def _of_wilcoxon(suite: Suite, plan: StopPlan) -> Iterator[Any]:
    if plan.worse_than != "wilcoxon":
        if "p_threshold" in plan.model_fields_set:
            yield problem("p_threshold is wilcoxon's; remove it", loc=("stop", "p_threshold"), at_key=True)
        return
    assert suite.search is not None
    if not suite.search.is_of_box:
        message = f"wilcoxon compares settings seed by seed, and {suite.search.name} asks for one seed at a time"
        yield problem(f"{message}; required median, halving or hyperband", loc=("stop", "worse_than"))
    elif 0.5 ** len(suite.seeds) >= plan.p_threshold:
        least = next(num for num in range(1, 64) if 0.5**num < plan.p_threshold)
        message = f"a p-value below {plan.p_threshold:g} needs at least {least} seeds, got {len(suite.seeds)}"
        yield problem(message, loc=("stop", "worse_than"))
