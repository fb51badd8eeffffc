"""`bench edge` and `bench tune`: an adaptive search for one method, without a suite file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli.aborting import AbortOption, WarningsOption, read_abort
from bench.cli.options import AllowCode, CompileOption, StoreOption, UriOption, WideOption
from bench.cli.shared import DEFAULT_STORE, open_store, run_and_print
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.suite import Suite

MethodArgument = Annotated[str, typer.Argument(metavar="METHOD", help="a method's name; bench list methods")]
WorkloadOption = Annotated[str, typer.Option(help="bench list workloads")]
OptimizerOption = Annotated[str, typer.Option(help="bench list optimizers")]
LowOption = Annotated[float, typer.Option(help="least learning rate")]
HighOption = Annotated[float, typer.Option(help="largest learning rate")]
BudgetOption = Annotated[int, typer.Option(min=1, help="most trials")]
TuneBudgetOption = Annotated[
    int | None, typer.Option(min=1, help="most trials; else 40, of several knobs 240", show_default=False)
]
AtOption = Annotated[
    list[str] | None,
    typer.Option("--at", help="at each of these values of another knob, as warmup_steps=0,100,500; may be repeated"),
]
KnobsOption = Annotated[
    str, typer.Option(help="also warmup_steps, weight_decay, grad_clip, init_scale, with commas between them")
]
SamplerOption = Annotated[
    Literal["tpe", "gp", "cmaes", "nsga2", "random", "qmc"] | None,
    typer.Option(help="of Optuna, for several knobs; else tpe; nsga2 weighs the worst seed too", show_default=False),
]
PrunerOption = Annotated[
    Literal["median", "halving", "hyperband", "wilcoxon"] | None,
    typer.Option(help="train settings no further that are worse than earlier ones, by this rule", show_default=False),
]
SeedsOption = Annotated[int, typer.Option(min=1, help="seeds of a setting")]
StepsOption = Annotated[int | None, typer.Option(min=1, help="steps of a trial; else the workload's")]
_LOW, _HIGH = 1e-5, 10.0  # of learning rates


def add_search_commands(app: typer.Typer) -> None:
    for command in (edge, tune):
        app.command()(command)


def edge(
    method: MethodArgument,
    workload: WorkloadOption = "in_context_regression",
    optimizer: OptimizerOption = "adamw",
    low: LowOption = _LOW,
    high: HighOption = _HIGH,
    at: AtOption = None,
    budget: BudgetOption = 40,
    seeds: SeedsOption = 5,
    num_steps: StepsOption = None,
    abort_on_warning: AbortOption = None,
    warnings_of: WarningsOption = None,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    compiling: CompileOption = "auto",
    wide: WideOption = False,
    allow_code: AllowCode = False,
) -> None:
    """Find the largest stable learning rate of one method, with an interval; with --at, over other knobs."""
    plain, others = _plain("edge", method, workload, optimizer, seeds, num_steps), listed_values(at or [])
    plain |= {"knobs": {"lr": _ends(low, high), **others}, "search": {"name": "edge", "budget": budget}}
    plain["name"] = "-".join((plain["name"], *others))
    suite, opened = _suite(plain, allow_code), open_store(store, tracking_uri)
    abort = read_abort(suite, abort_on_warning, warnings_of, opened, allow_code=allow_code)
    run_and_print(suite, opened, None, abort=abort, is_wide=wide, compiling=compiling)


def tune(
    method: MethodArgument,
    workload: WorkloadOption = "in_context_regression",
    optimizer: OptimizerOption = "adamw",
    knobs: KnobsOption = "lr",
    sampler: SamplerOption = None,
    pruner: PrunerOption = None,
    low: LowOption = _LOW,
    high: HighOption = _HIGH,
    budget: TuneBudgetOption = None,
    seeds: SeedsOption = 5,
    num_steps: StepsOption = None,
    abort_on_warning: AbortOption = None,
    warnings_of: WarningsOption = None,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    compiling: CompileOption = "auto",
    wide: WideOption = False,
    allow_code: AllowCode = False,
) -> None:
    """Find the learning rate of one method, or several knobs together, that give the least loss within a budget."""
    from bench.suite import Context
    from bench.suite.box_ranges import knob_names, suite_of_ranges

    names, ends = knob_names(knobs), _ends(low, high)
    if "lr" not in names and ends != [_LOW, _HIGH]:
        raise UsageError(f"--low and --high are of lr; required them without --knobs {knobs}, or lr among the knobs")
    plain = _plain("tune", method, workload, optimizer, seeds, num_steps)
    plain |= {} if pruner is None else {"stop": pruner}
    search: dict[str, Any] = {"name": "tune" if names == ["lr"] else "tune_box"}
    search |= {} if budget is None else {"budget": budget}
    if names == ["lr"]:
        if sampler is not None:
            raise UsageError("--sampler is for several knobs; required it without, or --knobs lr,weight_decay")
        suite = _suite(plain | {"knobs": {"lr": ends}, "search": search}, allow_code)
    else:
        search |= {} if sampler is None else {"sampler": sampler}
        plain |= {"name": f"{plain['name']}-{'-'.join(names)}", "search": search}
        ranges = {"box": {"lr": {"log": ends}}} if "lr" in names else {}
        suite = suite_of_ranges(plain | ranges, names, Context(allow_code=allow_code))
    opened = open_store(store, tracking_uri)
    abort = read_abort(suite, abort_on_warning, warnings_of, opened, allow_code=allow_code)
    run_and_print(suite, opened, None, abort=abort, is_wide=wide, compiling=compiling)


def listed_values(texts: Sequence[str]) -> dict[str, list[float]]:
    """Knobs and their values from texts such as warmup_steps=0,100. Raises UsageError for what is no such text."""
    by_knob: dict[str, list[float]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        try:
            by_knob[name.strip()] = [int(one) if one.strip().isdigit() else float(one) for one in values.split(",")]
        except ValueError:
            raise UsageError(f"--at {text!r}: required a knob and its values, as warmup_steps=0,100,500") from None
        if name.strip() == "lr":
            raise UsageError("--at lr: the edge is of lr; required another knob, as warmup_steps=0,100,500")
    return by_knob


def _ends(low: float, high: float) -> list[float]:
    """The range of learning rates. Raises UsageError for one that is none."""
    if not 0 < low < high < math.inf:
        raise UsageError(f"required 0 < --low < --high, got --low {low:g} and --high {high:g}")
    return [low, high]


def _plain(
    search: str, method: str, workload: str, optimizer: str, seeds: int, num_steps: int | None
) -> dict[str, Any]:
    """A suite but for its knobs and search."""
    return {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{search}-{method}-{workload}-{optimizer}"),
        "workloads": [{"name": workload} | ({} if num_steps is None else {"num_steps": num_steps})],
        "methods": [method],
        "optimizers": [optimizer],
        "seeds": seeds,
        "probe_every": 100,
    }


def _suite(plain: dict[str, Any], allow_code: bool) -> Suite:
    from bench.suite import Context, Suite

    return Suite.model_validate(plain, context=Context(allow_code=allow_code))
