"""What is fast, and how fast, in one table: `make bench`, or `python -m tests.perf.performance --help`.

Each line is one of MEASURES, most of them ratios of two things that ran side by side. With --json a file of earlier
measurements gets the new ones in place of those of the same name: {name: {value, unit, command, device, date}}, as
suites/results/performance.json keeps them. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from bench.driver.options import Options
from bench.driver.run import run_suite
from bench.lazy import torch
from bench.store import Store
from bench.suite import Suite, find_suite, load_suite
from bench.training.pack import Pack
from bench.training.train import PackRun
from tests.perf import bookkeeping, packs_vs_single

SAMPLE_MS = 200
NEVER = 1_000_000
Measured = dict[str, tuple[float, str]]  # by name: a value and its unit


@functools.cache
def has_gpu() -> bool:
    """Asks torch, which a run alone does not load before it starts."""
    return torch.cuda.is_available()


def main_suite() -> str:
    """What is run end to end."""
    return "paper_table1" if has_gpu() else "quickstart"


@contextlib.contextmanager
def busy_samples() -> Iterator[list[float]]:
    """Shares of time in which the first GPU was busy, by its driver, one each SAMPLE_MS; filled in at the end."""
    samples: list[float] = []
    if not has_gpu():
        yield samples
        return
    command = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    command.append(f"-lms={SAMPLE_MS}")
    with tempfile.TemporaryFile("w+") as file, subprocess.Popen(command, stdout=file) as sampler:
        yield samples
        sampler.terminate()
        sampler.wait()
        file.seek(0)
        samples += [float(line) / 100 for line in file if line.strip().isdigit()]


def run_phases(suite: str) -> dict[str, float]:
    """Seconds of each phase of a run into an empty store; prints them as JSON for the process that asked."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), warn=lambda text: print(text, file=sys.stderr))
        return run_suite(load_suite(find_suite(suite)), store, Options()).phases


def phases_of(suite: str, gpus: Sequence[str] | None = None) -> dict[str, float]:
    """`run_phases` in a process of its own, as a command is one; `end_to_end` is all of that process.

    gpus: those that it sees, by their numbers or names; else all.
    """
    command = [sys.executable, "-m", "tests.perf.performance", "--run", suite]
    seen = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    started = time.monotonic()
    done = subprocess.run(command, env=os.environ | seen, stdout=subprocess.PIPE)
    done.check_returncode()
    *_, last = done.stdout.decode().splitlines()
    return json.loads(last) | {"end_to_end": time.monotonic() - started}


def runs() -> Measured:
    """A suite from command to leaderboard, in an empty store, twice: the second finds what the first compiled."""
    with busy_samples() as busy:
        first = phases_of(main_suite())
    found = {f"{name}_s": (value, "s") for name, value in first.items()}
    found |= {"busy_share": (sum(busy) / len(busy), "of the time")} if busy else {}
    again = phases_of(main_suite())
    warm = {f"warm_{name}_s": (again[name], "s") for name in ("start", "training", "end_to_end")}
    head = "table1" if has_gpu() else main_suite()
    return {f"{head}_{name}": value for name, value in (found | warm).items()} | {"start_s": (again["start"], "s")}


def two_gpus() -> Measured:
    """Training of Table 1 on one GPU over that on two, each in an empty store."""
    if torch.cuda.device_count() < 2:
        return {}
    both = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")[:2]
    one, two = (phases_of("paper_table1", gpus)["training"] for gpus in (both[:1], both))
    return {"two_gpus": (one / two, "times as fast as one")}


def packs() -> Measured:
    """Packs over one trial a process, the same trials in one run."""
    ratio = packs_vs_single.compare(main_suite(), 60.0, [8] if has_gpu() else [])
    return {"packs_vs_single": (ratio, "times the trials a second of one trial a process")}


def machine() -> str:
    """The GPUs, or the processor, that all of it ran on."""
    if has_gpu():
        return f"{torch.cuda.device_count()} {torch.cuda.get_device_name()}"
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = {line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")}
    return f"{os.cpu_count()} cores ({', '.join(models) or 'kind unknown'})"


def step_seconds(suite: Suite, num_lanes: int, num_steps: int) -> float:
    """Of a pack of as many lanes of the suite's first entries, after ten steps."""
    run = PackRun(Pack(trials=tuple(suite.expand()[:num_lanes])), device="cuda" if has_gpu() else "cpu")
    run.advance(max_steps=10)
    started = time.monotonic()
    run.advance(max_steps=num_steps)
    if has_gpu():
        torch.cuda.synchronize()
    return (time.monotonic() - started) / num_steps


def probes() -> Measured:
    """What a suite's probes at its cadence cost: steps with them over steps without."""
    found: Measured = {}
    names = ("paper_table1", "lm_small") if has_gpu() else ("quickstart",)
    for name in names:
        suite = load_suite(find_suite(name))
        blind = suite.model_copy(update={"probe_every": NEVER})
        num_steps = 5 * suite.probe_every
        without, with_probes = (step_seconds(one, 5, num_steps) for one in (blind, suite))
        found[f"probes_{name}"] = (with_probes / without, "times a step without probes")
    return found


def kept() -> Measured:
    """Bookkeeping of a trial, from Ray to leaderboard, beside its training."""
    return {"bookkeeping_ms": (bookkeeping.measure(2000, 20), "ms a trial")}


def scores() -> Measured:
    """Scoring 10,000 trials with 20 million rows of traces by two threads."""
    done = subprocess.run([sys.executable, "-m", "tests.perf.scoring"], capture_output=True, text=True, check=True)
    cells = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    seconds = [float(value.replace(",", "")) for name, value in cells if name.endswith(", s")]
    return {"scoring_s": (sum(seconds), "s")}


MEASURES: dict[str, Callable[[], Measured]] = {
    "runs": runs,
    "two_gpus": two_gpus,
    "packs": packs,
    "probes": probes,
    "bookkeeping": kept,
    "scores": scores,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*MEASURES, []], help="which; else all")
    parser.add_argument("--json", type=Path, default=None, help="a file that is brought up to date")
    parser.add_argument("--run", default=None, metavar="SUITE", help="print the phases of a run as JSON, nothing else")
    args = parser.parse_args()
    if args.run is not None:
        print(json.dumps(run_phases(args.run)))
        return
    date, device = datetime.date.today().isoformat(), machine()
    print(f"{device}, {date}\n| measured | | |\n| --- | ---: | --- |", flush=True)
    for name in args.names or MEASURES:
        how = {"command": f"python -m tests.perf.performance {name}", "device": device, "date": date}
        for key, (value, unit) in MEASURES[name]().items():
            print(f"| {key} | {value:.3g} | {unit} |", flush=True)
            if args.json is not None:
                held = json.loads(args.json.read_text()) if args.json.exists() else {}
                held[key] = {"value": float(f"{value:.3g}"), "unit": unit, **how}
                args.json.write_text(json.dumps(dict(sorted(held.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
