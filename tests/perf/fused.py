"""Steps of the fused program on a GPU: `python -m tests.perf.fused --help`. The short table stands last.

A row is a method of a suite, in microseconds of a step of one pack of all its lanes, all of them alive: by the fused
program, and by Inductor's kernels for the methods that --compiled names. After it all packs side by side, a stream
each; then the trainings themselves, one after the other, from what is compiled to results and traces.
With --sizes a row is the first method by blocks of such a size instead, of one pack and of as many as there are
methods side by side: what the sizes that the program chooses are compared with.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import torch

from bench.suite import find_suite, load_suite
from bench.training.fused import cuda
from bench.training.fused.program import macros
from bench.training.fused.trainer import FusedTrainer
from bench.training.pack import Pack, make_packs
from bench.training.train import PackRun

NUM_STEPS = 200
MAX_LANES = 1024
Sizes = dict[str, int]


class Timed:
    """A pack whose fused steps can be called, all of its lanes alive whatever their learning rates are."""

    def __init__(self, pack: Pack, sizes: Sizes) -> None:
        self._run = PackRun(pack, device="cuda", is_reference=True)
        self._run._knobs["lr"].fill_(1e-4)
        program = self._run.program.of(pack.trials[0])
        kernel = cuda.Kernel(macros(program) | {"PRECISION": 32} | sizes)
        self._trainer = FusedTrainer(program, lambda settings, seeds: kernel.train(settings))
        self.stream = torch.cuda.Stream()

    def train(self) -> None:
        run = self._run
        with torch.cuda.stream(self.stream):
            self._trainer.train(
                run._lanes, run._knobs, run._history.tensors, run._living.places_C, first_step=0, num_steps=NUM_STEPS
            )


def microseconds(packs: Sequence[Timed]) -> float:
    """Of one step of all these packs side by side: the least of three rounds."""
    return min(seconds(lambda: [pack.train() for pack in packs]) for _ in range(4)) / NUM_STEPS * 1e6


def seconds(function: Callable[[], object]) -> float:
    """Until all streams have done what the function asks."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def print_sizes(pack: Pack, words: Sequence[str], num_packs: int) -> None:
    """One line for each slots:threads:chunks, and one for the sizes that the program chooses."""
    print(f"{pack.trials[0].method.label} on {torch.cuda.get_device_name()}, us a step")
    print(f"{'sizes':<15} {1:>5} {num_packs:>5}")
    for word in ["chosen", *words]:
        numbers = () if word == "chosen" else map(int, word.split(":"))
        sizes: Sizes = dict(zip(("SLOTS", "NUM_THREADS", "CHUNKS"), numbers, strict=False))
        packs = [Timed(pack, sizes) for _ in range(num_packs)]
        print(f"{word:<15} {microseconds(packs[:1]):>5.0f} {microseconds(packs):>5.0f}", flush=True)


def whole(packs: Sequence[Pack]) -> list[str]:
    """One line for each training, from nothing to its results."""
    lines = []
    for pack in packs:
        began = time.perf_counter()
        run = PackRun(pack, device="cuda")
        made = time.perf_counter()
        run.advance()
        trained = time.perf_counter()
        run.results()
        run.traces()
        ended = time.perf_counter()
        times = f"{made - began:.2f} s to make, {trained - made:.2f} to train, {ended - trained:.2f} to read"
        lines.append(f"{pack.trials[0].method.label:<30} {times}; {run.num_frozen} of {len(pack.trials)} diverged")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", default="paper_table1")
    parser.add_argument("--compiled", nargs="*", default=["softmax"], help="methods to time by Inductor's kernels, too")
    parser.add_argument("--sizes", nargs="*", default=[], help="slots:threads:chunks of a block, to time these alone")
    parser.add_argument("--no-whole", action="store_true", help="without the trainings themselves")
    args = parser.parse_args()
    packs = make_packs(load_suite(find_suite(args.suite)).expand(), max_lanes=MAX_LANES)
    if args.sizes:
        print_sizes(packs[0], args.sizes, len(packs))
        return
    compiled = {}
    for pack in packs:
        if pack.trials[0].method.name in args.compiled:
            compiled[pack.id] = PackRun(pack, device="cuda", compiling="always").time_step(max_seconds=2)
    lines = [] if args.no_whole else whole(packs)
    timed = [Timed(pack, {}) for pack in packs]
    print(
        f"{args.suite} on {torch.cuda.get_device_name()}, us a step\n{'method':<30} {'lanes':>5} {'fused':>8} compiled"
    )
    for pack, each in zip(packs, timed, strict=True):
        ready_s, step_s = compiled.get(pack.id, (float("nan"), float("nan")))
        other = f"{step_s * 1e6:8.0f} after {ready_s:.0f} s" if pack.id in compiled else ""
        print(
            f"{pack.trials[0].method.label:<30} {len(pack.trials):>5} {microseconds([each]):>8.0f} {other}", flush=True
        )
    print(f"{'all side by side':<30} {sum(len(pack.trials) for pack in packs):>5} {microseconds(timed):>8.0f}")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
