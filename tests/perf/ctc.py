"""What CTC costs by its kernels and by the loop over frames: `python -m tests.perf.ctc`, on a GPU, about 5 minutes.

Loss and gradient of all lanes as a step has them: traced under vmap and captured, not through Inductor, which takes
0.02 s an operation and the loop has a dozen a frame; and the steps of asr_digits. `torch` is torch.nn.functional's,
eager, of all lanes as one batch, which neither vmaps nor captures. Times are the best of 20 calls, in ms; `trace` is in
s; `difference` is the largest of any element of the gradient from that in float64, beside the loop's.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch.nn import functional

from bench.derivatives import with_gradient
from bench.models import ctc_triton
from bench.models.ctc import ctc_loss
from bench.suite.suite import load_suite
from bench.training.compile import compile_for, new_pool, repeatable
from bench.training.inductor import Compiling, Inductor
from bench.training.pack import Pack
from bench.training.train import PackRun

COLUMNS = "{:>6} {:>6} {:>5} {:>6}  {:>9} {:>9} {:>9}  {:>7} {:>7}  {:>8} {:>8}  {:>11} {:>11}"
NUM_SYMBOLS = 29
# Frames of 30 ms and labels: a word, three words as in asr_digits, utterances of 8 and 15 s, one of 45 s.
SIZES = [(16, 5), (32, 10), (96, 20), (250, 60), (500, 200), (1500, 400)]
MOST_FRAMES_OF_A_LOOP = 500  # a trace of more takes minutes
SUITE = Path("suites/asr_digits.yaml")
NUM_STEPS = 50

Arguments = tuple[torch.Tensor, ...]


def utterances(num_lanes: int, batch: int, num_frames: int, num_labels: int, device: str) -> Arguments:
    """Scores, labels, and lengths from half to all."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(num_lanes, batch, num_frames, NUM_SYMBOLS, generator=generator)
    labels = torch.randint(1, NUM_SYMBOLS, (num_lanes, batch, num_labels), generator=generator)
    shares = torch.linspace(0.5, 1, batch).expand(num_lanes, batch)
    return tuple(x.to(device) for x in (scores, labels, (shares * num_frames).long(), (shares * num_labels).long()))


def gradients(scores: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """Of the sum of losses, of every lane."""

    def of_lane(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        return with_gradient(lambda at: (ctc_loss(at["x"].log_softmax(-1), *others).sum(), ()), {"x": x})[0]["x"]

    return torch.func.vmap(of_lane)(scores, *others)


def of_torch(scores: torch.Tensor, labels: torch.Tensor, num_frames: torch.Tensor, num_labels: torch.Tensor) -> None:
    leaf = scores.flatten(0, 1).detach().requires_grad_()
    lengths = num_frames.flatten(), num_labels.flatten()
    log_p = leaf.log_softmax(-1).transpose(0, 1)
    torch.autograd.grad(functional.ctc_loss(log_p, labels.flatten(0, 1), *lengths, reduction="sum"), leaf)


def best_ms(call: Callable[[], object]) -> float:
    """Of 20 calls after 3."""
    seconds = []
    for _ in range(23):
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[3:]) * 1e3


class Runner:
    """A traced and captured gradient, by the kernels or by the loop."""

    def __init__(self, inputs: Arguments, *, by_kernels: bool) -> None:
        device = inputs[0].device
        started = time.perf_counter()
        with mock.patch.object(ctc_triton, "takes", return_value=by_kernels):
            call, example = compile_for(device, gradients, inputs, num_calls=1, inductor=Inductor(compiling="never"))
        self.trace_s = time.perf_counter() - started
        self.grad = torch.zeros_like(example)
        del example
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call(*inputs)
        self.mib = (torch.cuda.max_memory_allocated() - before) / 2**20

        def keep() -> None:
            self.grad.copy_(call(*inputs))

        self.call = repeatable(device, keep, lambda: call(*inputs), new_pool(device))
        self.ms = best_ms(self.call)


def exact_gradient(inputs: Arguments) -> torch.Tensor:
    """In float64 by the kernels, which the conformance tests hold to torch's to 1e-12."""
    return gradients(inputs[0].double(), *inputs[1:]).float()


def row(num_lanes: int, batch: int, num_frames: int, num_labels: int, device: str) -> str:
    inputs = utterances(num_lanes, batch, num_frames, num_labels, device)
    exact, runners = exact_gradient(inputs), {}
    for by_kernels in (True, False):
        if by_kernels or num_frames <= MOST_FRAMES_OF_A_LOOP:
            runners[by_kernels] = Runner(inputs, by_kernels=by_kernels)
    kernels, loop = (runners.get(each) for each in (True, False))
    assert kernels is not None
    far = [f"{(each.grad - exact).abs().max().item():.1e}" if each else "-" for each in (kernels, loop)]
    return COLUMNS.format(
        num_lanes,
        batch,
        num_frames,
        num_labels,
        f"{kernels.ms:.3f}",
        f"{loop.ms:.3f}" if loop else "-",
        f"{best_ms(lambda: of_torch(*inputs)):.3f}",
        f"{kernels.trace_s:.1f}",
        f"{loop.trace_s:.1f}" if loop else "-",
        f"{kernels.mib:.0f}",
        f"{loop.mib:.0f}" if loop else "-",
        *far,
    )


def step_ms(num_lanes: int, compiling: Compiling, *, by_kernels: bool, device: str) -> str:
    """A step of asr_digits, and in brackets the seconds until the first ten were done."""
    trials = [one for one in load_suite(SUITE).expand() if one.method.name == "softmax"][:num_lanes]
    with mock.patch.object(ctc_triton, "takes", return_value=by_kernels):
        run = PackRun(Pack(trials=tuple(trials)), device=device, compiling=compiling)
        started = time.perf_counter()
        run.advance(max_steps=10)
        torch.cuda.synchronize()
        first_s, started = time.perf_counter() - started, time.perf_counter()
        run.advance(max_steps=NUM_STEPS)
        torch.cuda.synchronize()
    for line in run.uncompiled:
        print(line, flush=True)
    return f"{(time.perf_counter() - started) / NUM_STEPS * 1e3:.2f} ({first_s:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--compiling", nargs="+", default=["never", "always"], choices=["never", "auto", "always"])
    args = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {NUM_SYMBOLS} symbols, float32")
    titles = "lanes batch frames labels kernels loop torch trace trace MiB MiB difference difference"
    print(COLUMNS.format(*titles.split()))
    for num_lanes in args.lanes:
        for num_frames, num_labels in SIZES:
            print(row(num_lanes, args.batch, num_frames, num_labels, "cuda"), flush=True)
            gc.collect()
            torch.cuda.empty_cache()
    for compiling in args.compiling:
        for num_lanes in args.lanes:
            kernels, loop = (
                step_ms(num_lanes, compiling, by_kernels=by_kernels, device="cuda") for by_kernels in (True, False)
            )
            print(
                f"asr_digits, {num_lanes} lanes, compile {compiling}: ms a step (s until ten were done) "
                f"{kernels} by kernels, {loop} by the loop",
                flush=True,
            )
            gc.collect()
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
