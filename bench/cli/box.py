"""`bench box` and `bench optuna`: how much of a box of knobs works for one method; a box as studies of Optuna."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.shared import (
    DEFAULT_STORE,
    AllowCode,
    CompileOption,
    LossOption,
    StoredArgument,
    StoreOption,
    UriOption,
    WideOption,
    find,
    open_store,
    run_and_print,
    say,
    say_missing,
)
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.suite import Suite

# What `bench box` draws; warmup up to half of the steps.
RANGES: dict[str, Any] = {
    "lr": {"log": [1e-4, 1.0]},
    "warmup_steps": {"int": [0, 0]},
    "weight_decay": {"log": [1e-5, 1.0], "zero": 0.1},
    "grad_clip": {"log": [0.1, 10.0], "off": 0.25},
    "init_scale": {"log": [0.3, 3.0]},
}
MethodArgument = Annotated[str, typer.Argument(metavar="METHOD", help="a method's name; bench list methods")]
WorkloadOption = Annotated[str, typer.Option(help="bench list workloads")]
OptimizerOption = Annotated[str, typer.Option(help="bench list optimizers")]
KnobsOption = Annotated[str, typer.Option(help=f"of {', '.join(RANGES)}, with commas between them")]
PointsOption = Annotated[int, typer.Option(min=16, help="settings that are drawn, eight times a power of two")]
SeedsOption = Annotated[int, typer.Option(min=1, help="seeds of a setting")]
StepsOption = Annotated[int | None, typer.Option(min=2, help="steps of a trial; else the workload's")]
StorageOption = Annotated[
    str | None, typer.Option("--storage", help="URL of a database, as sqlite:///FILE; else optuna.db in the store")
]


def add_box_commands(app: typer.Typer) -> None:
    for command in (box, optuna):
        app.command()(command)


def box(
    method: MethodArgument,
    workload: WorkloadOption = "in_context_regression",
    optimizer: OptimizerOption = "adamw",
    knobs: KnobsOption = ",".join(RANGES),
    points: PointsOption = 64,
    seeds: SeedsOption = 3,
    num_steps: StepsOption = None,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    compiling: CompileOption = "auto",
    wide: WideOption = False,
    allow_code: AllowCode = False,
) -> None:
    """Draw learning rate, warmup, decay, clipping and initial scale of one method together: how much of it works?"""
    entry: dict[str, Any] = {"name": workload} | ({} if num_steps is None else {"num_steps": num_steps})
    names = [name.strip() for name in knobs.split(",") if name.strip()]
    if unknown := [name for name in names if name not in RANGES]:
        raise UsageError(f"--knobs {unknown[0]!r}: required some of {', '.join(RANGES)}")
    suite = _suite(method, entry, optimizer, names, points, seeds, allow_code=allow_code)
    run_and_print(suite, open_store(store, tracking_uri), None, is_wide=wide, compiling=compiling)


def optuna(
    suite: StoredArgument,
    storage: StorageOption = None,
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Write the results of a box as studies of Optuna, one a method, into a database that its dashboard opens."""
    from analysis.subject import BoxSubject
    from bench.results.studies import recorded_studies
    from bench.results.subjects import read_subject
    from bench.search.storage import write_studies

    opened = open_store(store, tracking_uri)
    subject = read_subject(find(suite, opened, allow_code), opened, loss=loss)
    if not isinstance(subject, BoxSubject):
        raise UsageError(f"{subject.name} draws no box of knobs; required a suite with one")
    url = storage or f"sqlite:///{opened.home / 'optuna.db'}"
    studies = recorded_studies(subject)
    write_studies(studies, url)
    say_missing(subject)
    say(f"wrote {len(studies)} studies; optuna-dashboard opens:")
    print(url)


def _suite(
    method: str,
    workload: dict[str, Any],
    optimizer: str,
    names: list[str],
    points: int,
    seeds: int,
    *,
    allow_code: bool,
) -> Suite:
    from bench.suite import Context, Suite

    plain: dict[str, Any] = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", f"box-{method}-{workload['name']}-{optimizer}"),
        "workloads": [workload],
        "methods": [method],
        "optimizers": [optimizer],
        "box": {name: RANGES[name] for name in names if name != "warmup_steps"},
        "knobs": {} if "lr" in names else {"lr": 1e-3},
        "design": {"name": "qmc", "num_points": points},
        "seeds": seeds,
        "probe_every": 100,
    }
    context = Context(allow_code=allow_code)
    if "warmup_steps" in names:
        num_steps = Suite.model_validate(plain, context=context).workloads[0].params["num_steps"]
        plain["box"]["warmup_steps"] = {"int": [0, max(num_steps // 2, 1)]}
    return Suite.model_validate(plain, context=context)
