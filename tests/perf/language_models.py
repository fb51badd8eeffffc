"""Speed of language models on a GPU: `python -m tests.perf.language_models gpt2 llama lanes`.

gpt2: GPT-2 124M, context 1024, bf16: share of the measured bf16 matrix rate, and what probes every 10 steps cost.
llama: Llama-1B, context 768, in parts of the batch, with and without checkpointing.
lanes: tokens/s of packs against one lane.
Model arithmetic: 6 per weight of a matrix product and token, and 6 layers x width x context for causal attention (half
of what PaLM's formula counts); nothing for what checkpointing computes again.
"""

import argparse
import dataclasses
import gc
import time
from collections.abc import Sequence

import torch

from bench.models.decoder import PRESETS
from bench.suite import Suite
from bench.training.pack import Pack
from bench.training.pack_size import fit
from bench.training.train import PackRun
from bench.trial import Trial

NEVER = 1_000_000


def matrix_rate(size: int = 8192, repeats: int = 30) -> float:
    """FLOP/s of square bf16 matrix products."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    started = time.monotonic()
    for _ in range(repeats):
        a @ b
    torch.cuda.synchronize()
    return 2 * size**3 * repeats / (time.monotonic() - started)


def trials(num_seeds: int = 1, *, probe_every: int = NEVER, method: str = "softmax", **settings: object) -> list[Trial]:
    workload = {"name": "language_modeling", "final_loss_steps": 1, "eval_every_steps": NEVER, "eval_batches": 1}
    suite = Suite(
        name="speed",
        workloads=[workload | {"num_steps": 100_000} | settings],
        methods=[method],
        optimizers=[{"name": "adamw", "beta2": 0.95}],
        knobs={"lr": [3e-4], "grad_clip": [1.0], "weight_decay": [0.1]},
        seeds=num_seeds,
        probe_every=probe_every,
    )
    return suite.expand()


def step_seconds(lanes: Sequence[Trial], *, num_steps: int) -> tuple[float, float, PackRun]:
    """Seconds of a step, and until the first one was done."""
    torch.cuda.reset_peak_memory_stats()
    run = PackRun(Pack(trials=tuple(lanes)), device="cuda")
    started = time.monotonic()
    run.advance(max_steps=10)
    torch.cuda.synchronize()
    first_s = time.monotonic() - started
    started = time.monotonic()
    run.advance(max_steps=num_steps)
    torch.cuda.synchronize()
    return (time.monotonic() - started) / num_steps, first_s, run


def eager_seconds(one: Trial, *, num_steps: int = 20) -> float:
    """Seconds of a step of one lane, operation by operation."""
    run = PackRun(Pack(trials=(one,)), device="cuda")
    run.dry_step(only_training=True)
    torch.cuda.synchronize()
    started = time.monotonic()
    for _ in range(num_steps):
        run.dry_step(only_training=True)
    torch.cuda.synchronize()
    return (time.monotonic() - started) / num_steps


def flops_per_token(run: PackRun, *, preset: str, context: int) -> float:
    layers, width = PRESETS[preset]["num_layers"], PRESETS[preset]["width"]
    matrices = sum(
        tensor[0].numel()
        for name, tensor in run._lanes["params"].items()
        if tensor[0].ndim == 2 and name != "embed.positions"
    )
    if not PRESETS[preset]["ties_embeddings"]:
        matrices -= run._lanes["params"]["embed.tokens"][0].numel()  # a lookup
    return 6 * matrices + 6 * layers * width * context


def gpt2(rate: float) -> None:
    settings = {
        "model": "gpt2_124m",
        "context": 1024,
        "batch_size": 32,
        "precision": "bfloat16",
        "vocabulary_size": 50304,
    }
    plain_s, first_s, run = step_seconds(trials(**settings), num_steps=30)
    flops = flops_per_token(run, preset="gpt2_124m", context=1024) * 32 * 1024
    gib = torch.cuda.max_memory_allocated() / 2**30
    print(
        f"GPT-2 124M, batch 32 x 1024, bf16: {plain_s * 1e3:.1f} ms/step, {32 * 1024 / plain_s:,.0f} tokens/s, "
        f"{flops / plain_s / 1e12:.0f} TFLOP/s, {flops / plain_s / rate:.1%} of the matrix rate, {gib:.1f} GiB, "
        f"first step after {first_s:.0f} s",
        flush=True,
    )
    del run
    torch.cuda.empty_cache()
    probed_s, *_ = step_seconds(trials(probe_every=10, **settings), num_steps=30)
    print(f"  with probes every 10 steps: {probed_s * 1e3:.1f} ms/step, {probed_s / plain_s - 1:+.1%}", flush=True)


def llama(rate: float) -> None:
    for num_parts, checkpointing in ((8, False), (4, True)):
        settings = {
            "num_steps": 1000,  # pays for compiling steps; observations stay as they are
            "model": "llama_1b",
            "context": 768,
            "batch_size": 64,
            "num_micro_batches": num_parts,
            "checkpointing": checkpointing,
            "precision": "bfloat16",
            "vocabulary_size": 32000,
        }
        try:
            step_s, first_s, run = step_seconds(trials(probe_every=10, **settings), num_steps=10)
        except torch.OutOfMemoryError as error:
            print(f"Llama-1B in {num_parts} parts, checkpointing {checkpointing}: {error}", flush=True)
            torch.cuda.empty_cache()
            continue
        tokens = 64 * 768
        flops = flops_per_token(run, preset="llama_1b", context=768) * tokens
        weights = sum(tensor.numel() for tensor in run._lanes["params"].values())
        gib = torch.cuda.max_memory_allocated() / 2**30
        print(
            f"Llama-1B ({weights / 1e9:.2f}e9 weights), 64 x 768 in {num_parts} parts, checkpointing {checkpointing}, "
            f"bf16, entropy every 10 steps: {step_s:.2f} s/step, {tokens / step_s:,.0f} tokens/s, "
            f"{flops / step_s / rate:.1%} of the matrix rate, {gib:.1f} GiB, first steps after {first_s:.0f} s; "
            f"entropy by layer {[round(x, 2) for x in run._history.tensors['attention'][1, 0, 0].tolist()]}",
            flush=True,
        )
        del run
        gc.collect()
        torch.cuda.empty_cache()


def lanes(rate: float) -> None:
    del rate
    # 1500 steps, as a small suite has them, are too few to pay for Inductor.
    for preset, many, num_steps in (("gpt_1m", 16, 1500), ("gpt_10m", 8, 1500), ("gpt_1m", 16, 50_000)):
        settings = {"num_steps": num_steps, "model": preset, "context": 256, "batch_size": 16, "precision": "bfloat16"}
        group = trials(many, **settings)
        tokens = 16 * 256
        one_s, one_first_s, run = step_seconds(group[:1], num_steps=200)
        del run
        eager_s = eager_seconds(group[0])
        many_s, many_first_s, run = step_seconds(group, num_steps=200)
        del run
        torch.cuda.empty_cache()
        started = time.monotonic()
        found = fit([dataclasses.replace(group[0], seed=seed) for seed in range(64)], device="cuda")
        print(
            f"{preset}, batch 16 x 256, bf16, {num_steps} steps: one lane {tokens / one_s:,.0f} tokens/s, "
            f"{tokens / eager_s:,.0f} without graph and compiler; {many} lanes {many * tokens / many_s:,.0f}, "
            f"{many * one_s / many_s:.1f} and {many * eager_s / many_s:.1f} times as many (first steps after "
            f"{one_first_s:.0f} and {many_first_s:.0f} s); the probe chose {found.num_lanes} of 64 lanes in "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["gpt2", "llama", "lanes"])
    parts = {"gpt2": gpt2, "llama": llama, "lanes": lanes}
    rate = matrix_rate()
    print(f"{torch.cuda.get_device_name()}: bf16 matrix rate {rate / 1e12:.0f} TFLOP/s", flush=True)
    for name in parser.parse_args().parts:
        parts[name](rate)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
