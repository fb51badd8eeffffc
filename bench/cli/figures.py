"""`bench figures`: the figures of Hong & Lee 2025 from a suite's results. stdout is data, stderr is progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli.options import AllowCode, FontOption, OutOption, StoredArgument, StoreOption, UriOption
from bench.cli.shared import DEFAULT_STORE, find, folder_of, open_store, say
from bench.cli.streams import prints_aside
from bench.errors import UsageError
from bench.files import make_folder, write_file

if TYPE_CHECKING:
    import polars

    from analysis.figures.frames.inspected import Inspection
    from analysis.figures.hong_lee_2025 import Family, Material, PaperChart
    from analysis.labels import Names
    from analysis.subject import Subject
    from bench.results.stored import Stored
    from bench.store import Store
    from bench.suite import Suite
    from bench.training.inspection import Agreement
    from bench.trial import Choice

LR_TOLERANCE = 1e-9  # relative: a learning rate as it was typed
FAMILIES: dict[str, Family] = {"llama": "llama", "gpt": "gpt", "gpt2": "gpt", "wortsman": "gpt"}

LrOption = Annotated[float | None, typer.Option("--lr", help="else the one at which methods differ most")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="of the runs that are looked into; else the least")]
StepsOption = Annotated[str | None, typer.Option("--steps", help="to look at, as 0,100,1000; else log-spaced ones")]
OnlyOption = Annotated[str | None, typer.Option("--only", help="figures to draw, as 1,4,11 or rows; else all")]
DeviceOption = Annotated[Literal["cpu", "cuda"] | None, typer.Option("--device", help="to look into runs on")]


@dataclass(frozen=True, kw_only=True)
class FigureChoices:
    """What the user chose, read."""

    lr: float | None
    seed: int | None
    steps: list[int] | None
    keys: list[str]
    device: str | None


def add_figures_command(app: typer.Typer) -> None:
    """The command `figures`."""
    app.command("figures")(_figures)


def _figures(
    suite: StoredArgument,
    out: OutOption = None,
    lr: LrOption = None,
    seed: SeedOption = None,
    steps: StepsOption = None,
    only: OnlyOption = None,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
    device: DeviceOption = None,
    font: FontOption = None,
) -> None:
    """Draw the figures of Hong & Lee 2025 that a suite has data for, each as SVG, PNG and PDF with its CSV.

    They go into figures/SUITE or --out.

    Figs. 8 and 11 and `rows` show what no run stores: one run of each method is trained once more and looked into, and
    its losses are held against the stored ones.
    """
    from analysis.figures.hong_lee_2025 import FIGURES, THEORY_FIGURES
    from analysis.labels import Labels

    opened = open_store(store, tracking_uri)
    stored = find(suite, opened, allow_code)
    keys = _keys(only, [*FIGURES, *THEORY_FIGURES])
    chosen = FigureChoices(lr=lr, seed=seed, steps=_steps(steps), keys=keys, device=device)
    folder = folder_of(out, "figures", stored.name)
    make_folder(folder)
    names = Labels(of={} if stored.suite is None else stored.suite.labels).plain
    num_drawn = 0
    for stem, drawn in _all_drawn(stored, opened, chosen):
        for path in _save(drawn, folder, stem, names, font):
            print(path, flush=True)
        num_drawn += 1
    if not num_drawn:
        raise UsageError(f"none of the figures {', '.join(keys)} could be drawn; the lines above say why")


def _all_drawn(stored: Stored, store: Store, chosen: FigureChoices) -> Iterator[tuple[str, PaperChart]]:
    """File names without suffix, and what is drawn; says what is skipped."""
    from analysis.figures.hong_lee_2025 import FIGURES, THEORY_FIGURES
    from analysis.figures.of_a_suite import parts
    from bench.results.subjects import read_grid

    for key in chosen.keys:
        if key in THEORY_FIGURES:
            yield THEORY_FIGURES[key].stem, THEORY_FIGURES[key].draw()
    keys = [key for key in chosen.keys if key in FIGURES]
    if not keys:
        return
    if stored.suite is None:
        raise UsageError(f"{stored.name} has runs of others alone, which left no traces; required a suite of ours")
    why_not = "figures of training need a suite with a grid; an adaptive search draws its own in its report"
    subject = read_grid(stored, store, why_not=why_not)
    places = list(parts(subject.results))
    for number, (place, part) in enumerate(places, start=1):
        suffix = f"_{number}" if len(places) > 1 else ""
        material = _material(stored.suite, subject, place, part, chosen)
        for key in keys:
            outcome = FIGURES[key].draw(material)
            if isinstance(outcome, str):
                say(f"{place}: skipped {key}: {outcome}")
                continue
            for drawn in outcome:
                name = f"{FIGURES[key].stem}_{drawn.part}" if drawn.part else FIGURES[key].stem
                yield name + suffix, drawn


def _material(suite: Suite, subject: Subject, place: str, part: polars.DataFrame, chosen: FigureChoices) -> Material:
    """Read the traces at the learning rate, and look into runs if a figure asks for it."""
    from analysis.figures.frames.aggregate import telling_lr
    from analysis.figures.hong_lee_2025 import FIGURES, Material
    from bench.outcome import RESULT_OUTCOMES

    lr = telling_lr(part) if chosen.lr is None else chosen.lr
    at_lr = part.filter((part["lr"] / lr - 1).abs() <= LR_TOLERANCE, part["outcome"].is_in(RESULT_OUTCOMES))
    if at_lr.is_empty():
        rates = ", ".join(f"{rate:g}" for rate in part["lr"].unique().sort())
        raise UsageError(f"--lr {lr:g}: no trial of {place} has a result there; learning rates are {rates}")
    traces = subject.traces(at_lr["trial_id"].to_list())
    inspection, reason = None, "no run was looked into"
    if any(FIGURES[key].is_inspected for key in chosen.keys if key in FIGURES):
        inspection, reason = _inspection(suite, at_lr, traces, subject.plain_manifest, chosen)
    workload = next(choice for choice in suite.entries["workloads"] if choice.label == part["workload"][0])
    return Material(
        place=place,
        family=_family(workload),
        num_keys=subject.num_keys[workload.label],
        lr=lr,
        results=part,
        traces=traces,
        inspection=inspection,
        not_inspected=reason,
    )


def _inspection(
    suite: Suite, at_lr: polars.DataFrame, traces: polars.DataFrame, manifest: Mapping[str, Any], chosen: FigureChoices
) -> tuple[Inspection | None, str]:
    """A look inside one run of each method; None and why, for a model that is too large."""
    from bench.driver.manifest import num_cpus
    from bench.lazy import torch
    from bench.training.inspection import check_inspectable, company, inspect

    device = chosen.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine's torch sees no CUDA device; use --device cpu")
    seeds = at_lr["seed"].unique().sort().to_list()
    seed = seeds[0] if chosen.seed is None else chosen.seed
    if seed not in seeds:
        raise UsageError(f"--seed {seed}: no trial with it has a result; seeds are {', '.join(map(str, seeds))}")
    rows = at_lr.filter(at_lr["seed"] == seed)
    by_id = {trial.id: trial for trial in suite.expand()}
    trials = [by_id[trial_id] for trial_id in rows["trial_id"]]
    try:
        check_inspectable(trials[0], device)
    except UsageError as error:
        return None, str(error)
    num_slots = num_cpus(manifest) if device == "cpu" else None
    with prints_aside():
        inspection, agreements = inspect(
            trials,
            rows,
            traces,
            packs=company(trials, list(by_id.values()), device=device, num_slots=num_slots),
            device=device,
            compiling=manifest.get("compiling", "auto"),
            steps=chosen.steps,
            on_progress=lambda method: say(f"looking into {method}, seed {seed}"),
        )
    for line in _agreement_lines(agreements):
        say(line)
    return inspection, ""


def _agreement_lines(agreements: Sequence[Agreement]) -> Iterator[str]:
    """What the losses of the second runs say."""
    alike = [one for one in agreements if one.largest_difference == 0]
    if alike:
        least = min(one.num_losses for one in alike)
        yield f"{len(alike)} of {len(agreements)} runs gave the stored losses again bit for bit (at least {least} each)"
    for one in agreements:
        if one.num_losses == 0:
            yield f"warning: {one.method}: no loss is stored to compare the second run with"
        elif one.parted_step is not None:
            yield (
                f"warning: {one.method}: the second run parts from the stored one at step {one.parted_step}; figures "
                "that look inside show it and not the stored one from there on"
            )
        elif one.largest_difference > 0:
            yield f"{one.method}: losses differ from the stored ones by {one.largest_difference:.1e} of them at most"


def _family(workload: Choice) -> Family:
    if workload.name == "in_context_regression":
        return "regression"
    model = workload.params["model"] if workload.name == "language_modeling" else ""
    prefix = model.partition("_")[0]
    return FAMILIES.get(prefix, "other")


def _keys(only: str | None, known: list[str]) -> list[str]:
    """The figures to draw, each once, in the order of their numbers."""
    ordered = sorted(known, key=lambda key: (not key.isdigit(), int(key) if key.isdigit() else 0))
    if only is None:
        return ordered
    wanted = {key.strip().removeprefix("0") for key in only.split(",") if key.strip()}
    unknown = sorted(wanted - set(known))
    if unknown or not wanted:
        raise UsageError(f"--only {only!r}: figures are {', '.join(ordered)}")
    return [key for key in ordered if key in wanted]


def _steps(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        steps = sorted({int(step) for step in text.split(",")})
    except ValueError:
        raise UsageError(f"--steps {text!r}: required whole numbers with commas between them, as 0,100,1000") from None
    return steps


def _save(drawn: PaperChart, out: Path, stem: str, names: Names, font: str | None) -> Iterator[Path]:
    from analysis.figures.lr_loss import DRAWN_FORMATS, save_spec
    from analysis.figures.style.named import named_spec
    from analysis.tables.forms.csv_text import csv_text

    yield from save_spec(named_spec(drawn.chart.to_dict(), names), out, stem, DRAWN_FORMATS, font=font)
    yield write_file(out / f"{stem}.csv", csv_text(drawn.data))
