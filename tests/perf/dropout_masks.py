"""What masks of dropout cost on a GPU: `python -m tests.perf.dropout_masks`.

nanoGPT's recipe for characters (suites/nanogpt_char.yaml; any text of 65 characters trains as fast), one lane. Dropout
leaves attention without its fused kernels, which have no P to drop elements of. So the masks cost what a step with
dropout takes beyond one of the dense reference without; both are held against the fused step, too.
"""

import gc
import tempfile
import time
from pathlib import Path

import torch

from bench.suite import Suite
from bench.suite.file import read_document
from bench.training.inductor import Compiling
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Trial

SUITE = Path("suites/nanogpt_char.yaml")
CHARACTERS = "".join(map(chr, range(33, 98)))  # 65, as Shakespeare's
NUM_STEPS = 100  # measured, of each
ROWS: dict[str, tuple[float, bool]] = {  # dropout, and whether attention is the dense reference
    "no dropout, fused": (0.0, False),
    "no dropout, dense": (0.0, True),
    "dropout 0.2": (0.2, False),
}


def trial_of(folder: str, dropout: float) -> Trial:
    """The suite's first trial, on a text made here."""
    corpus = Path(folder) / "text"
    corpus.write_text(CHARACTERS * 16_000)
    plain = read_document(SUITE).data
    (workload,) = plain["workloads"]
    workload |= {"corpus": str(corpus), "dropout": dropout, "eval_batches": 1}
    return Suite(**plain | {"workloads": [workload], "seeds": 1}).expand()[0]


def step_seconds(trial: Trial, compiling: Compiling, *, is_reference: bool) -> tuple[float, float]:
    """Seconds of a step, and until the first ten were done."""
    run = PackRun(Pack(trials=(trial,)), device="cuda", is_reference=is_reference, compiling=compiling)
    began = time.monotonic()
    run.advance(max_steps=10)
    torch.cuda.synchronize()
    first_s, started = time.monotonic() - began, time.monotonic()
    run.advance(max_steps=NUM_STEPS)
    torch.cuda.synchronize()
    for line in run.uncompiled:
        print(line, flush=True)
    return (time.monotonic() - started) / NUM_STEPS, first_s


def main() -> None:
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: ms a step (s until ten were done)")
    with tempfile.TemporaryDirectory() as folder:
        modes: tuple[Compiling, ...] = ("never", "always")
        for compiling in modes:
            seconds = {}
            for name, (dropout, is_reference) in ROWS.items():
                seconds[name], first_s = step_seconds(trial_of(folder, dropout), compiling, is_reference=is_reference)
                print(f"compile {compiling}, {name}: {seconds[name] * 1e3:.2f} ({first_s:.0f})", flush=True)
                gc.collect()
                torch.cuda.empty_cache()
            fused, dense, dropped = seconds.values()
            print(
                f"compile {compiling}: masks take {(dropped - dense) * 1e3:.2f} ms, {1 - dense / dropped:.1%} of the "
                f"step; dropout makes a step {dropped / fused:.2f} times as long as the fused one"
            )


if __name__ == "__main__":
    main()
