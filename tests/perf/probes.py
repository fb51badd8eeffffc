"""What each probe of the model costs beside training, in one run: `python -m tests.perf.probes [--lanes 4]`.

A language model of 1.2M parameters (gpt_1m, bytes, context 256, batch 8, AdamW), as suites/lm_small.yaml trains it in
float32. Each call of an observation and of a step is timed in turn, processor seconds on a CPU; `steps` is an
observation over a step, `every` the cadence of the probe, `cost` their ratio, `memory` the peak of one observation
over that of a step (CUDA). The default probes come first, at a cadence of 25 steps.
"""

import argparse
import time

import torch

from bench.entry import load_class
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.probes import DEFAULT_PROBES, PROBES
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Knobs, Trial
from bench.workloads import WORKLOADS
from tests.trials import choice, corpus

USUAL_EVERY = 25
COLUMNS = "{:<40} {:>7} {:>7} {:>7} {:>7}"


def trials(names: tuple[str, ...], num_lanes: int, context: int) -> tuple[Trial, ...]:
    """Lanes that differ in lr, with these probes at their own cadence."""
    workload = choice(
        WORKLOADS,
        "language_modeling",
        model="gpt_1m",
        corpus=corpus(),
        tokenizer="characters",
        context=context,
        batch_size=8,
        num_steps=1000,
        eval_every_steps=1000,
    )
    digest = load_class(WORKLOADS["language_modeling"])(**workload.params).data_digest()
    return tuple(
        Trial(
            workload=type(workload)(name=workload.name, params=workload.params, digest=digest),
            method=choice(METHODS, "qk_layernorm_free"),
            optimizer=choice(OPTIMIZERS, "adamw"),
            schedule=choice(SCHEDULES, "constant"),
            knobs=Knobs(lr=1e-3 * (1 + lane)),
            seed=0,
            probe_every=USUAL_EVERY,
            probes=tuple(choice(PROBES, name) for name in names),
        )
        for lane in range(num_lanes)
    )


def seconds_of(call, device: str) -> float:
    """Of one call: processor seconds of this process, or seconds of a GPU."""
    if device == "cpu":
        began = time.process_time()
        call()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.monotonic()
    call()
    torch.cuda.synchronize()
    return time.monotonic() - began


def peak_of(call, device: str) -> float:
    if device == "cpu":
        return float("nan")
    torch.cuda.reset_peak_memory_stats()
    call()
    return float(torch.cuda.max_memory_allocated())


def measure(names: tuple[str, ...], arguments: argparse.Namespace) -> None:
    """One line for a set of probes of one cadence."""
    run = PackRun(Pack(trials=trials(names, arguments.lanes, arguments.context)), device=arguments.device)
    run.advance(max_steps=2)
    (name, observation), *_ = run._history.observations.items()
    observe, step = run._observe_once[name], run._steps.once
    counter = run._counters[name]
    best = {"step": float("inf"), "observe": float("inf")}
    for _ in range(arguments.rounds):
        counter.zero_()
        best["observe"] = min(best["observe"], seconds_of(observe, arguments.device))
        best["step"] = min(best["step"], seconds_of(step, arguments.device))
    counter.zero_()
    memory = peak_of(observe, arguments.device) / peak_of(step, arguments.device)
    ratio, every = best["observe"] / best["step"], observation.probes[0].every or USUAL_EVERY
    label = "default" if len(names) > 1 else names[0]
    print(COLUMNS.format(label, f"{ratio:.2f}", every, f"{ratio / every:.1%}", f"{memory:.2f}"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="these probes")
    arguments = parser.parse_args()
    print(COLUMNS.format("probe", "steps", "every", "cost", "memory"))
    measure(DEFAULT_PROBES, arguments)
    for name in arguments.only or [name for name in PROBES if name not in DEFAULT_PROBES]:
        measure((name,), arguments)


if __name__ == "__main__":
    main()
