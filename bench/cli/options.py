"""Arguments and options that several commands have, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

SuiteArgument = Annotated[str, typer.Argument(metavar="SUITE", help="a suite file, or the name of a shipped suite")]
StoredArgument = Annotated[
    str,
    typer.Argument(metavar="SUITE", help="a suite file, or the name of a shipped suite, of one run, or of imports"),
]
StoreOption = Annotated[Path, typer.Option("--store", envvar="BENCH_STORE", help="folder of the embedded store")]
UriOption = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow server or database instead of the embedded store")
]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="import `package.module:Class` entries of the suite")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", file_okay=False, help="folder to write, made if missing; else one with the suite's name"),
]
FormatOption = Annotated[Literal["table", "csv", "json", "md"], typer.Option("--format")]
CompareOption = Annotated[str | None, typer.Option("--compare", help="published numbers to set beside ours: paper")]
ScoreOption = Annotated[str, typer.Option("--score", help="lr_sensitivity, or lr_sensitivity_seedwise")]
LossOption = Annotated[
    Literal["train", "validation"], typer.Option("--loss", help="the loss that all scores are of; validation: held-out")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="a cluster without token authentication too")]
GpusOption = Annotated[
    int | None, typer.Option("--gpus", min=1, help="GPUs to wait for; an autoscaling cluster is asked for them")
]
MaxLanesOption = Annotated[
    int | None, typer.Option("--max-lanes", min=1, help="most trials in one pack; else by the device")
]
CompileOption = Annotated[
    Literal["auto", "never", "always"],
    typer.Option(
        "--compile", help="with Inductor what packs repeat: on a GPU where it pays; never; always, on a CPU too"
    ),
]
CheckpointsOption = Annotated[
    str | None,
    typer.Option("--checkpoints", help="folder or s3://bucket/path that all nodes share; else in the store"),
]
ClusterStoreOption = Annotated[
    str, typer.Option(help="folder on the cluster for results on their way to MLflow, on a disk that outlives the head")
]
CheckpointSecondsOption = Annotated[
    float, typer.Option("--checkpoint-seconds", min=0, help="of training between two checkpoints of a pack")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0, help="minutes without a sign of life that end a worker; 0: never")
]
FontOption = Annotated[
    Literal["sans", "serif"] | None,
    typer.Option(
        "--font",
        help="of figures: DejaVu Sans or Serif, embedded; else a bundle has Sans, others the viewer's",
    ),
]
FiguresOption = Annotated[
    bool,
    typer.Option("--figures/--no-figures", help="on the suite's page in MLflow; without, nothing draws"),
]
ContributedOption = Annotated[
    list[Path] | None,
    typer.Option("--contributed", metavar="DIR", help="a contribution of others, or a folder of several; repeatable"),
]
CurvePointsOption = Annotated[
    int | None,
    typer.Option(
        "--curve-points", min=4, help="parts of each curve in MLflow, log-spaced in the step; 32, more for finer ones"
    ),
]
WideOption = Annotated[
    bool, typer.Option("--wide", help="every column of a table, however narrow the terminal is; else COLUMNS decides")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
