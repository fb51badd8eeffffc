"""`bench box` and `bench optuna`: how much of a box of knobs works for one method; a box as studies of Optuna."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import AllowCode, CompileOption, LossOption, StoredArgument, StoreOption, UriOption, WideOption
from bench.cli.shared import DEFAULT_STORE, find, open_store, run_and_print, say, say_missing
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.suite import Suite

MethodArgument = Annotated[str, typer.Argument(metavar="METHOD", help="a method's name; bench list methods")]
WorkloadOption = Annotated[str, typer.Option(help="bench list workloads")]
OptimizerOption = Annotated[str, typer.Option(help="bench list optimizers")]
KNOBS = "lr,warmup_steps,weight_decay,grad_clip,init_scale"  # whose ranges bench.suite.box_ranges has
KnobsOption = Annotated[str, typer.Option(help="some of these, with commas between them")]
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
    knobs: KnobsOption = KNOBS,
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
    suite = _suite(method, entry, optimizer, knobs, points, seeds, allow_code=allow_code)
    run_and_print(suite, open_store(store, tracking_uri), None, is_wide=wide, compiling=compiling)


def optuna(
    suite: StoredArgument,
    storage: StorageOption = None,
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Write the results of a box, or a search, as studies of Optuna, one a method, for its dashboard to open."""
    from analysis.subject import BoxSubject, SearchSubject
    from bench.results.studies import recorded_studies, searched_studies
    from bench.results.subjects import read_subject
    from bench.search.storage import write_studies
    from bench.store import read_searched

    opened = open_store(store, tracking_uri)
    stored = find(suite, opened, allow_code)
    subject = read_subject(stored, opened, loss=loss)
    if isinstance(subject, BoxSubject):
        studies = recorded_studies(subject)
    elif isinstance(subject, SearchSubject) and stored.suite is not None:
        studies = searched_studies(stored.suite, read_searched(opened, stored.suite.name))
    else:
        raise UsageError(f"{subject.name} draws no box of knobs and searches none; required a suite that does")
    url = storage or f"sqlite:///{opened.home / 'optuna.db'}"
    write_studies(studies, url)
    say_missing(subject)
    say(f"wrote {len(studies)} studies; optuna-dashboard opens:")
    print(url)


def _suite(
    method: str,
    workload: dict[str, Any],
    optimizer: str,
    knobs: str,
    points: int,
    seeds: int,
    *,
    allow_code: bool,
) -> Suite:
    from bench.suite import Context
    from bench.suite.box_ranges import knob_names, suite_of_ranges

    names = knob_names(knobs)
    plain: dict[str, Any] = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", f"box-{method}-{workload['name']}-{optimizer}"),
        "workloads": [workload],
        "methods": [method],
        "optimizers": [optimizer],
        "design": {"name": "qmc", "num_points": points},
        "seeds": seeds,
        "probe_every": 100,
    }
    return suite_of_ranges(plain, names, Context(allow_code=allow_code))
