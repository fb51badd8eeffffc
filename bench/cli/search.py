"""`bench edge` and `bench tune`: an adaptive search for one method, without a suite file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.shared import (
    DEFAULT_STORE,
    AllowCode,
    CompileOption,
    StoreOption,
    UriOption,
    WideOption,
    open_store,
    run_and_print,
)
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.suite import Suite

COMMANDS = {
    "edge": "Find the largest stable learning rate of one method, with an interval.",
    "tune": "Find the learning rate of one method that gives the least loss within a budget.",
}

MethodArgument = Annotated[str, typer.Argument(metavar="METHOD", help="a method's name; bench list methods")]
WorkloadOption = Annotated[str, typer.Option(help="bench list workloads")]
OptimizerOption = Annotated[str, typer.Option(help="bench list optimizers")]
LowOption = Annotated[float, typer.Option(help="least learning rate")]
HighOption = Annotated[float, typer.Option(help="largest learning rate")]
BudgetOption = Annotated[int, typer.Option(min=1, help="most trials")]
SeedsOption = Annotated[int, typer.Option(min=1, help="seeds of a setting")]
StepsOption = Annotated[int | None, typer.Option(min=1, help="steps of a trial; else the workload's")]


def add_search_commands(app: typer.Typer) -> None:
    """A command for each of COMMANDS."""
    for search, text in COMMANDS.items():
        app.command(search, help=text)(_command(search))


def _command(search: str) -> Callable[..., None]:
    def command(
        method: MethodArgument,
        workload: WorkloadOption = "in_context_regression",
        optimizer: OptimizerOption = "adamw",
        low: LowOption = 1e-5,
        high: HighOption = 10.0,
        budget: BudgetOption = 40,
        seeds: SeedsOption = 5,
        num_steps: StepsOption = None,
        store: StoreOption = DEFAULT_STORE,
        tracking_uri: UriOption = None,
        compiling: CompileOption = "auto",
        wide: WideOption = False,
        allow_code: AllowCode = False,
    ) -> None:
        if not 0 < low < high:
            raise UsageError(f"required 0 < --low < --high, got --low {low:g} and --high {high:g}")
        workload_entry: dict[str, object] = {"name": workload}
        if num_steps is not None:
            workload_entry["num_steps"] = num_steps
        suite = _suite(search, method, workload_entry, optimizer, (low, high), budget, seeds, allow_code=allow_code)
        run_and_print(suite, open_store(store, tracking_uri), None, is_wide=wide, compiling=compiling)

    return command


def _suite(
    search: str,
    method: str,
    workload: dict[str, object],
    optimizer: str,
    lrs: tuple[float, float],
    budget: int,
    seeds: int,
    *,
    allow_code: bool,
) -> Suite:
    from bench.suite import Context, Suite

    plain = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{search}-{method}-{workload['name']}-{optimizer}"),
        "workloads": [workload],
        "methods": [method],
        "optimizers": [optimizer],
        "knobs": {"lr": list(lrs)},
        "search": {"name": search, "budget": budget},
        "seeds": seeds,
        "probe_every": 100,
    }
    return Suite.model_validate(plain, context=Context(allow_code=allow_code))
