"""What scoring a large suite takes on two cores: `python -m tests.perf.scoring --help`.

Writes synthetic results and traces as Parquet, then scores them in a process of its own with two threads, scanning the
traces lazily, and prints seconds and the peak of that process's resident memory.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THREADS = 2
NUM_LRS, NUM_SEEDS, NUM_LAYERS, NUM_KEYS = 20, 10, 4, 64
NUM_FILES = 20


def write(folder: Path, num_trials: int, num_rows: int) -> None:
    """results.parquet, and the traces in NUM_FILES files: loss, gradient norm, entropy and Frobenius norm by layer."""
    import numpy as np
    import polars as pl

    from bench.outcome import RESULT_COLUMNS
    from bench.trace import TRACE_COLUMNS

    rng = np.random.default_rng(0)
    series = [("loss", -1), ("grad_norm", -1)]
    series += [(name, layer) for name in ("entropy", "frobenius_norm") for layer in range(NUM_LAYERS)]
    num_steps = num_rows // num_trials // len(series)
    place = np.arange(num_trials)
    lrs, seeds = np.geomspace(1e-4, 1.0, NUM_LRS)[place % NUM_LRS], place // NUM_LRS % NUM_SEEDS
    methods = place // (NUM_LRS * NUM_SEEDS)
    cliff = -1 + 0.02 * methods + 0.2 * rng.standard_normal(num_trials)
    learned = 1 / (1 + np.exp(-3 * (np.log10(lrs) + 2.5)))
    final = np.where(np.log10(lrs) > cliff, np.inf, 3 - 2.5 * learned + 0.05 * rng.standard_normal(num_trials))
    base = {
        "trial_id": [f"{number:016x}" for number in place], "workload": "w", "method": [f"m{m}" for m in methods],
        "optimizer": "sgd", "schedule": "constant", "lr": lrs, "warmup_steps": 0.0, "weight_decay": 0.0,
        "grad_clip": math.inf, "init_scale": 1.0, "settings": "{}", "seed": seeds, "num_steps": num_steps,
        "outcome": ["diverged" if math.isinf(loss) else "completed" for loss in final], "diverged_step": None,
        "initial_loss": 3.0, "final_loss": final, "initial_val_loss": None, "val_loss": None, "val_accuracy": None,
        "val_calibration_error": None, "wall_s": 1.0,
    }  # fmt: skip
    schema = {name: getattr(pl, dtype) for name, dtype in RESULT_COLUMNS.items()}
    pl.DataFrame(base).cast(schema).write_parquet(folder / "results.parquet")  # pyright: ignore[reportArgumentType]
    steps = np.arange(num_steps)
    for number, part in enumerate(np.array_split(place, NUM_FILES)):
        floor = np.where(np.isinf(final[part]), 3.0, final[part])[:, None, None]
        values = (
            floor + (3 - floor) * np.exp(-steps / 30) + 0.1 * rng.standard_normal((len(part), len(series), num_steps))
        )
        shape = values.shape
        names, layers = zip(*series, strict=True)
        frame = pl.DataFrame(
            {
                "trial_id": np.repeat(np.array(base["trial_id"])[part], len(series) * num_steps),
                "step": np.broadcast_to(steps, shape).ravel(),
                "quantity": np.tile(np.repeat(names, num_steps), len(part)),
                "layer": np.tile(np.repeat(layers, num_steps), len(part)),
                "value": np.abs(values).ravel(),
            }
        )
        types = {name: getattr(pl, dtype) for name, dtype in TRACE_COLUMNS.items()}
        frame.cast(types).write_parquet(folder / f"traces-{number:02d}.parquet")  # pyright: ignore[reportArgumentType]


def score(folder: Path) -> dict[str, float]:
    """Seconds of each stage, and the peak memory of this process in GB."""
    import polars as pl

    from analysis.across.disagreement import score_correlations
    from analysis.scores.kinds import SCORE_KINDS
    from analysis.scores.leaderboard import leaderboard
    from analysis.scores.table import score_differences, score_table
    from tests.analysis.scored_results import scored_entries

    results = pl.read_parquet(folder / "results.parquet")
    traces = pl.scan_parquet(folder / "traces-*.parquet")
    times: dict[str, float] = {"trials": results.height, "trace rows": traces.select(pl.len()).collect().item()}
    started = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal started
        times[name] = time.perf_counter() - started
        started = time.perf_counter()

    leaderboard(results)
    lap("leaderboard, s")
    entries = scored_entries(results, traces, NUM_KEYS, "train")
    lap("traces to measures, s")
    table = score_table(entries, "train")
    score_correlations(table)
    lap("score table, s")
    for name in SCORE_KINDS:
        score_differences(entries, name)
    lap("differences under every score, s")
    return times | {"peak memory, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--score", type=Path, default=None, help="score what is in this folder and print JSON")
    args = parser.parse_args()
    if args.score is not None:
        print(json.dumps(score(args.score)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.trials, args.rows)
        command = [sys.executable, "-m", "tests.perf.scoring", "--score", folder]
        environment = os.environ | {"POLARS_MAX_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
        found = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    print("| measured | |\n| --- | ---: |")
    for name, value in found.items():
        print(f"| {name} | {value:,.2f} |" if isinstance(value, float) else f"| {name} | {value:,} |")


if __name__ == "__main__":
    main()
