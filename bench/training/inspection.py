"""Look inside runs that are over: train a trial once more, stop at chosen steps, and see what no run stores.

On the same device and in the company of its pack the second run is the first one; its losses are held against the
stored ones to prove it. Shapes: A layers, B batch, S sequences, H heads, Q queries, K keys.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy

from analysis.figures.frames.inspected import GAIN_COLUMNS, HISTOGRAM_COLUMNS, NUM_LOOKS, Inspection, Snapshot, spread
from bench.entry import build
from bench.errors import UsageError
from bench.lazy import polars, torch
from bench.methods import METHODS
from bench.methods.base import Method
from bench.models.attention import Tensors
from bench.outcome import Outcome
from bench.probes.gains import gains
from bench.training.inductor import Compiling
from bench.training.model_view import scales_of
from bench.training.pack import Pack, make_packs
from bench.training.pack_size import busy_lanes, fit, widest_groups
from bench.training.step_cost import num_parameters
from bench.training.train import PackRun
from bench.trial import Trial
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload

NUM_STEPS = 40  # looked at, unless told
NUM_BINS = 40
LEAST_WEIGHT = 1e-8  # smaller weights count in the first bin; zeros, as masked keys have, in none
NUM_SEQUENCES = 2  # of which matrices are kept
MAX_CPU_PARAMETERS = 3_000_000  # of a model that is trained once more on a CPU
MAX_WEIGHTS = 2**28  # of P in all layers on the probed part of a batch, 1 GiB
SAME_LOSS = 1e-3  # relative; runs that differ by more have parted


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How the losses of a second run compare with the stored ones.

    largest_difference: relative; inf where only one is finite. parted_step: the first at which it passes SAME_LOSS.
    """

    method: str
    num_losses: int
    largest_difference: float
    parted_step: int | None


def look_steps(num_steps: int, diverged_step: int | None) -> list[int]:
    """0, 1 and log-spaced steps to the last, or to the last before the divergence."""
    last = num_steps - 1 if diverged_step is None else max(0, diverged_step - 1)
    return sorted({0, min(1, last), last, *spread(range(last + 1), NUM_STEPS)})


def check_inspectable(trial: Trial, device: str) -> None:
    """Raises UsageError for a model that is too large to be trained once more, or to keep P of all layers."""
    workload = build(WORKLOADS, trial.workload)
    method: Method = build(METHODS, trial.method)
    if device == "cpu" and (count := num_parameters(workload, method)) > MAX_CPU_PARAMETERS:
        raise UsageError(
            f"{trial.workload.label} has {count / 1e6:.1f}M parameters; on a CPU a model of at most "
            f"{MAX_CPU_PARAMETERS / 1e6:g}M is trained once more; use --device cuda"
        )
    if _num_weights(trial) > MAX_WEIGHTS:
        raise UsageError(
            f"{trial.workload.label} has {_num_weights(trial):,} attention weights on the probed part of a batch; at "
            f"most {MAX_WEIGHTS:,} are looked at; a smaller probe_examples or context would do, as a suite of its own"
        )


def company(
    trials: Sequence[Trial], others: Sequence[Trial], *, device: str, num_slots: int | None = None
) -> dict[str, Pack]:
    """By id of the trials, the pack to train each in once more: that of an undisturbed `bench run`.

    A pack of another size runs other kernels, which round otherwise. A trial whose pack's P would take too much memory
    is alone all the same. others: all trials of their suite. num_slots: packs that its run trained at once on CPUs.
    """
    workloads = {trial.workload for trial in trials}
    beside = [trial for trial in others if trial.workload in workloads]
    lanes = {workload: fit(group, device=device).num_lanes for workload, group in widest_groups(beside).items()}
    if num_slots is not None:
        lanes = busy_lanes(lanes, num_trials=len(others), num_slots=num_slots)
    packs = make_packs(beside, max_lanes=lambda trial: lanes[trial.workload])
    pack_of = {trial.id: pack for pack in packs for trial in pack.trials}
    wide = [one for one in trials if len(pack_of[one.id].trials) * _num_weights(one) > MAX_WEIGHTS]
    return {one.id: pack_of[one.id] for one in trials} | {one.id: Pack(trials=(one,)) for one in wide}


def inspect(
    trials: Sequence[Trial],
    results: polars.DataFrame,
    traces: polars.DataFrame,
    *,
    packs: Mapping[str, Pack],
    device: str,
    compiling: Compiling = "auto",
    steps: Sequence[int] | None = None,
    on_progress: Callable[[str], None] = lambda method: None,
) -> tuple[Inspection, list[Agreement]]:
    """Train each trial, of one seed and of methods of their own, once more and look inside.

    results: RESULT_COLUMNS, rows of the trials. traces: the stored ones, TRACE_COLUMNS and trial_id. packs: by trial id
    the one to train it in, as `company` has them. compiling: as in the run that stored them. steps: where to look, as
    far as a trial got; else `look_steps`. Raises UsageError as `check_inspectable`, and for steps that no trial has.
    """
    outcomes = {row["trial_id"]: row for row in results.iter_rows(named=True)}
    seen = _Seen(gains=[], histograms=[], snapshots=[])
    agreements = []
    for trial in trials:
        check_inspectable(trial, device)
        wanted = _wanted(trial, outcomes[trial.id]["diverged_step"], steps)
        on_progress(trial.method.label)
        with one_thread():
            run = PackRun(packs[trial.id], device=device, compiling=compiling)
            _look(run, trial, wanted, seen)
            # On to the end, so that all losses are compared; with steps of the caller's, those up to the last.
            run.advance(max_steps=None if steps is None else 1)
        stored = traces.filter(polars.col("trial_id") == trial.id)
        reached = trial.num_steps if run.done else run.step
        agreements.append(agreement(trial.method.label, stored, run.traces()[trial.id], reached))
    inspection = Inspection(
        seed=trials[0].seed,
        gains=_frame(seen.gains, GAIN_COLUMNS),
        histograms=_frame(seen.histograms, HISTOGRAM_COLUMNS),
        snapshots=tuple(seen.snapshots),
        diverged=frozenset(t.method.label for t in trials if outcomes[t.id]["outcome"] == Outcome.DIVERGED),
        parted={one.method: one.parted_step for one in agreements if one.parted_step is not None},
    )
    return inspection, agreements


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Collects rows of GAIN_COLUMNS and of HISTOGRAM_COLUMNS, and snapshots."""

    gains: list[tuple[object, ...]]
    histograms: list[tuple[object, ...]]
    snapshots: list[Snapshot]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """As the processes have that train packs: sums over two threads round otherwise, and small tensors gain nothing."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _wanted(trial: Trial, diverged_step: int | None, steps: Sequence[int] | None) -> list[int]:
    """The steps to look at; of the caller's those that the trial reached, its last if none."""
    reached = look_steps(trial.num_steps, diverged_step)
    if steps is None:
        return reached
    last = trial.num_steps - 1
    if not 0 <= min(steps) <= max(steps) <= last:
        raise UsageError(f"steps to look at must be from 0 to {last}, got {min(steps)} to {max(steps)}")
    return sorted({step for step in steps if step <= reached[-1]}) or reached[-1:]


def _look(run: PackRun, trial: Trial, wanted: Sequence[int], seen: _Seen) -> None:
    """Train up to the last wanted step."""
    lane = run.pack.trials.index(trial)
    kept = spread(wanted, NUM_LOOKS)
    for step in wanted:
        run.advance(max_steps=step - run.step)
        if run.done or run.is_frozen[lane]:  # earlier than the stored run did: the losses will show it
            break
        params, buffers, weights = run.look()
        for index, layer in enumerate(run.program.workload.layers):
            scales = scales_of(run.program.method, _of_lane(params, lane), _of_lane(buffers, lane), layer)
            seen.gains.extend((trial.method.label, step, index, name, value) for name, value in gains(scales).items())
        p_ABHQK = [p_LBHQK[lane].cpu().numpy() for p_LBHQK in weights]
        for layer, p_BHQK in enumerate(p_ABHQK):
            seen.histograms.extend((trial.method.label, step, layer, *bin) for bin in histogram_bins(p_BHQK))
        if step in kept:
            p_ASHQK = stacked_weights([p_BHQK[:NUM_SEQUENCES] for p_BHQK in p_ABHQK])
            seen.snapshots.append(Snapshot(method=trial.method.label, step=step, p_ASHQK=p_ASHQK))


def agreement(method: str, stored: polars.DataFrame, seen: polars.DataFrame, num_steps: int) -> Agreement:
    """Compare two traces of a trial, TRACE_COLUMNS, by their losses of the first `num_steps` steps."""
    is_loss = (polars.col("quantity") == "loss") & (polars.col("step") < num_steps)
    both = stored.filter(is_loss).join(seen.filter(is_loss), on="step", suffix="_seen").sort("step")
    differences = [
        _difference(old, new) for old, new in both.select("value", "value_seen").cast(polars.Float64).iter_rows()
    ]
    parted = [
        step for step, difference in zip(both["step"].to_list(), differences, strict=True) if difference > SAME_LOSS
    ]
    return Agreement(
        method=method,
        num_losses=both.height,
        largest_difference=max(differences, default=math.nan),
        parted_step=parted[0] if parted else None,
    )


def _difference(old: float, new: float) -> float:
    """Relative to the old; 0 for two of the same kind of not finite."""
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    if not (math.isfinite(old) and math.isfinite(new)):
        return math.inf
    return abs(new - old) / max(abs(old), math.ulp(0.0))


def histogram_bins(p_BHQK: numpy.ndarray) -> Iterator[tuple[str, float, float, float]]:
    """The last columns of HISTOGRAM_COLUMNS: of a layer's positive weights, log-spaced, and of its row entropies."""
    num_keys = p_BHQK.shape[-1]
    p_RK = p_BHQK.reshape(-1, num_keys).astype(numpy.float64)
    p_RK = p_RK[numpy.isfinite(p_RK).all(axis=1)]
    # Of a method whose rows do not sum to 1, as the traced entropy has it.
    q_RK = p_RK / numpy.maximum(p_RK.sum(axis=1, keepdims=True), numpy.finfo(numpy.float64).tiny)
    entropy_R = -(q_RK * numpy.log(q_RK, where=q_RK > 0, out=numpy.zeros_like(q_RK))).sum(axis=1)
    bins = {
        "weight": (p_RK[p_RK > 0], numpy.geomspace(LEAST_WEIGHT, 1.0, NUM_BINS + 1)),
        "entropy": (entropy_R, numpy.linspace(0.0, math.log(max(num_keys, 2)), NUM_BINS + 1)),
    }
    for of, (values, edges) in bins.items():
        counts = numpy.histogram(values.clip(edges[0], edges[-1]), bins=edges)[0]
        shares = counts / max(1, counts.sum())
        for low, high, share in zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True):
            yield of, low, high, share


def stacked_weights(p_ASHQK: Sequence[numpy.ndarray]) -> numpy.ndarray:
    """P of all layers as one, (A, S, H, Q, K): where stacks of layers differ, with rows of NaN and keys of 0 added."""
    num_queries, num_keys = (max(p_SHQK.shape[axis] for p_SHQK in p_ASHQK) for axis in (2, 3))
    wide = [numpy.pad(p, [(0, 0), (0, 0), (0, 0), (0, num_keys - p.shape[3])]) for p in p_ASHQK]
    rows = [[(0, 0), (0, 0), (0, num_queries - p.shape[2]), (0, 0)] for p in wide]
    return numpy.stack([numpy.pad(p, of, constant_values=numpy.nan) for p, of in zip(wide, rows, strict=True)])


def _num_weights(trial: Trial) -> int:
    """Of P in all layers on the probed part of a batch."""
    workload: Workload = build(WORKLOADS, trial.workload)
    layers = workload.attention_layers
    num_weights = sum(one.heads.num_heads * one.num_queries * one.heads.num_keys for one in layers)
    return num_weights * _num_probed(workload)


def _num_probed(workload: Workload) -> int:
    """Sequences on which attention is observed."""
    batch = workload.batches(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    probed = workload.probe_batch({name: tensor[0, 0] for name, tensor in batch.items()})
    return next(iter(probed.values())).shape[0]


def _of_lane(tensors: Tensors, lane: int) -> Tensors:
    return {name: tensor[lane].cpu() for name, tensor in tensors.items()}


def _frame(rows: list[tuple[object, ...]], columns: Mapping[str, str]) -> polars.DataFrame:
    return polars.DataFrame(rows, schema={name: getattr(polars, kind) for name, kind in columns.items()}, orient="row")
