"""On a GPU: what is trained is what float64 on the CPU says, a resume is bit-identical, a lane is its solo run."""

import dataclasses
import functools
import gc
from collections.abc import Callable
from typing import Any

import polars
import pytest
import torch
from torch.utils import _pytree as pytree

from bench.cluster.checkpoints import Checkpoints
from bench.cluster.worker import PackTrainable
from bench.cluster.worker_options import WorkerOptions
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS
from bench.outcome import RESULT_COLUMNS, Outcome
from bench.training.aborting import Watch
from bench.training.compile import new_pool, repeatable
from bench.training.inductor import Compiling
from bench.training.inspection import company, inspect
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Trial
from tests.trials import language_trial, trial

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("default"),  # Inductor and the profiler warn on their own account
]

WORKLOAD = {"batch_size": 32, "depth": 1, "num_pairs": 20, "num_steps": 60}
# A GPT of 0.1 million weights, evaluated at 0, 10, 20 and 30.
LANGUAGE = {
    "num_steps": 30,
    "final_loss_steps": 5,
    "batch_size": 8,
    "context": 32,
    "depth": 2,
    "width": 64,
    "num_heads": 4,
    "eval_every_steps": 10,
}
LLAMA = {"model": "llama_1m"}


def pack_of(method: str) -> Pack:
    """Four lanes that train and two that diverge."""
    lrs = (1e-3, 1e-2, 1e30)
    return Pack(
        trials=tuple(
            trial(method=method, workload_params=WORKLOAD, lr=lr, seed=seed, probe_every=10)
            for lr in lrs
            for seed in (0, 1)
        )
    )


def language_pack(num_lanes: int = 2, lrs: tuple[float, ...] = (1e-3, 3e-3), **settings: Any) -> Pack:
    """The last lane of more than two has a seed of its own."""
    seeds = [0] * min(num_lanes, 3) + [1] * (num_lanes - 3)
    return Pack(
        trials=tuple(
            language_trial(workload_params=LANGUAGE | settings, lr=lrs[lane % len(lrs)], seed=seed, probe_every=10)
            for lane, seed in enumerate(seeds)
        )
    )


@functools.cache
def advanced(pack: Pack, device: str = "cuda", dtype: str = "float32") -> PackRun:
    """Trained to the end."""
    run = PackRun(pack, device=device, dtype=dtype)
    run.advance()
    return run


def history(run: PackRun, quantity: str) -> torch.Tensor:
    return run.state()["history"][quantity].double()


def observed(run: PackRun) -> torch.Tensor:
    """What the probes, of one cadence, observed: (P, L, Q, A)."""
    (name,) = (name for name in run.state()["history"] if name.startswith("observed_"))
    return history(run, name)


def assert_losses_close(one: PackRun, other: PackRun, *, rtol: float, atol: float = 0.0) -> None:
    """Losses of all steps, before training, and on held-out data."""
    torch.testing.assert_close(history(one, "loss"), history(other, "loss"), rtol=rtol, atol=atol)
    torch.testing.assert_close(history(one, "initial_loss"), history(other, "initial_loss"), rtol=rtol, atol=atol)
    val_loss, expected = (history(run, "val")[..., 0] for run in (one, other))
    torch.testing.assert_close(val_loss, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    ("method", "compiling"),
    [*((method, "never") for method in METHODS), ("softmax", "always"), ("sigma_reparam_qk", "always")],
)
def test_cuda_matches_float64_on_the_cpu(method, compiling):
    pack = pack_of(method)
    on_cuda, exact = PackRun(pack, device="cuda", compiling=compiling), PackRun(pack, dtype="float64")
    for run in (on_cuda, exact):
        run.advance(max_steps=10)
    for quantity in ("loss", "grad_norm"):
        found, expected = (history(run, quantity)[:10, :4] for run in (on_cuda, exact))
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-5)
    torch.testing.assert_close(
        history(on_cuda, "initial_loss")[:4], history(exact, "initial_loss")[:4], rtol=1e-5, atol=0
    )
    torch.testing.assert_close(observed(on_cuda)[0, :4], observed(exact)[0, :4], rtol=1e-4, atol=1e-5)


def assert_resumes(pack: Pack, stop: int, folder, compiling: Compiling = "never") -> None:
    """Results, traces and the whole state, through a file."""
    whole, first, second = (PackRun(pack, device="cuda", compiling=compiling) for _ in range(3))
    whole.advance()
    first.advance(max_steps=stop)
    torch.save(first.state(), folder / "state.pt")
    second.load(torch.load(folder / "state.pt", weights_only=True))
    second.advance()
    for one, other in zip(whole.results(), second.results(), strict=True):
        assert dataclasses.replace(one, wall_s=0.0) == dataclasses.replace(other, wall_s=0.0)
    for trial_id, trace in whole.traces().items():
        assert trace.equals(second.traces()[trial_id])


@pytest.mark.parametrize(
    ("method", "compiling"),
    [("softmax", "never"), ("sigma_reparam_qk", "never"), ("qk_layernorm_free", "never"), ("softmax", "always")],
)
def test_resume_is_bit_identical_on_cuda(method, compiling, tmp_path):
    assert_resumes(pack_of(method), 33, tmp_path, compiling)


@pytest.mark.parametrize("compiling", ["never", "always"])
@pytest.mark.parametrize("method", ["softmax", "relu_kernel"])
def test_dropout_has_the_masks_of_the_cpu_compiled_or_not(method, compiling):
    """Of what blocks add and of weights: losses are those of float64 on the CPU, up to rounding."""
    trials = tuple(
        language_trial(method=method, workload_params=LANGUAGE | {"dropout": 0.2}, lr=1e-3, seed=seed, probe_every=10)
        for seed in (0, 1)
    )
    on_cuda = PackRun(Pack(trials=trials), device="cuda", compiling=compiling)
    exact = PackRun(Pack(trials=trials), dtype="float64")
    for run in (on_cuda, exact):
        run.advance(max_steps=20)
    torch.testing.assert_close(history(on_cuda, "initial_loss"), history(exact, "initial_loss"), rtol=1e-4, atol=0)
    torch.testing.assert_close(history(on_cuda, "loss")[:20], history(exact, "loss")[:20], rtol=1e-3, atol=0)


@pytest.mark.parametrize("settings", [{"dropout": 0.1}, LLAMA | {"num_micro_batches": 2, "precision": "bfloat16"}])
def test_resume_of_a_language_model_is_bit_identical_on_cuda(settings, tmp_path):
    """Between two evaluations."""
    assert_resumes(language_pack(**settings), 13, tmp_path)


def test_lane_matches_solo_run_on_cuda():
    pack = pack_of("softmax")
    together = advanced(pack)
    for lane, one in enumerate(pack.trials[:4]):
        solo = advanced(Pack(trials=(one,)))
        torch.testing.assert_close(history(together, "loss")[:, lane], history(solo, "loss")[:, 0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("compiling", ["never", "always"])
def test_a_run_that_is_looked_into_is_the_stored_one_bit_for_bit_on_cuda(compiling):
    """In the company that it was trained in: alone its sums would round otherwise."""
    pack = pack_of("qk_layernorm_free")
    one = pack.trials[2]
    run = PackRun(pack, device="cuda", compiling=compiling)
    run.advance()
    schema = {name: getattr(polars, kind) for name, kind in RESULT_COLUMNS.items()}
    results = polars.DataFrame([run.results()[2].row()], schema=schema)
    traces = run.traces()[one.id].with_columns(trial_id=polars.lit(one.id))
    packs = company([one], pack.trials, device="cuda")
    assert packs == {one.id: pack}
    _, [agreed] = inspect([one], results, traces, packs=packs, device="cuda", compiling=compiling)
    assert (agreed.num_losses, agreed.largest_difference, agreed.parted_step) == (7, 0.0, None)


def test_diverged_lane_is_recorded_on_cuda():
    run = advanced(pack_of("softmax"))
    assert [result.diverged_step is not None for result in run.results()] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("settings", [{}, LLAMA], ids=["gpt2", "llama"])
def test_a_language_model_matches_float64_on_the_cpu(settings):
    """30 steps of AdamW, which amplifies rounding where gradients are small; held-out data through captured graphs."""
    pack = language_pack(**settings)
    on_cuda, exact = advanced(pack), advanced(pack, "cpu", "float64")
    assert_losses_close(on_cuda, exact, rtol=2e-3)
    for quantity in ("loss", "grad_norm"):
        found, expected = (history(run, quantity)[0] for run in (on_cuda, exact))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(history(on_cuda, "initial_loss"), history(exact, "initial_loss"), rtol=1e-5, atol=0)
    found, expected = (history(run, "val") for run in (on_cuda, exact))
    torch.testing.assert_close(found[0, :, 0], expected[0, :, 0], rtol=1e-5, atol=0)
    torch.testing.assert_close(found[..., 1:], expected[..., 1:], rtol=0, atol=0.02)
    torch.testing.assert_close(observed(on_cuda)[0], observed(exact)[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_matches_float64_on_the_cpu(optimizer):
    """Ten steps of a model with matrices, vectors and embeddings, captured; signs and roots amplify rounding."""
    pack = Pack(
        trials=tuple(
            language_trial(workload_params=LANGUAGE, optimizer=optimizer, lr=lr, seed=seed, weight_decay=0.1)
            for lr in (1e-4, 1e-3)
            for seed in (0, 1)
        )
    )
    on_cuda, exact = PackRun(pack, device="cuda"), PackRun(pack, dtype="float64")
    for run in (on_cuda, exact):
        run.advance(max_steps=10)
    found, expected = (history(run, "loss")[:10] for run in (on_cuda, exact))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert (expected[9] < expected[0]).any(), "nothing was learned"


def test_lanes_with_optimizer_constants_of_their_own_match_solo_runs():
    trials = [
        language_trial(workload_params=LANGUAGE, optimizer_params={"beta1": beta1}, lr=1e-3) for beta1 in (0.8, 0.9)
    ]
    together = advanced(Pack(trials=tuple(trials)))
    for lane, one in enumerate(trials):
        solo = advanced(Pack(trials=(one,)))
        torch.testing.assert_close(history(together, "loss")[:, lane], history(solo, "loss")[:, 0], rtol=2e-3, atol=0)


def test_four_lanes_of_a_language_model_match_their_solo_runs():
    pack = language_pack(4)
    together = advanced(pack)
    for lane, one in enumerate(pack.trials):
        solo = advanced(Pack(trials=(one,)))
        for quantity in ("loss", "val"):
            found, expected = history(together, quantity)[:, lane], history(solo, quantity)[:, 0]
            torch.testing.assert_close(found, expected, rtol=2e-3, atol=0.02 if quantity == "val" else 0)


def test_bfloat16_trains_nearly_as_float32_on_cuda():
    mixed, exact = advanced(language_pack(precision="bfloat16")), advanced(language_pack())
    assert not torch.equal(history(mixed, "loss"), history(exact, "loss"))
    assert_losses_close(mixed, exact, rtol=0, atol=0.03)
    floats = [leaf for leaf in pytree.tree_leaves(mixed.state()["lanes"]) if leaf.is_floating_point()]
    assert {leaf.dtype for leaf in floats} == {torch.float32}


@pytest.mark.parametrize("method", ["softmax", "qk_clip"])
def test_parts_of_a_batch_train_as_the_whole_does_on_cuda(method):
    """A largest logit above 0 is reached: the clipping acts."""
    packs = [
        Pack(
            trials=tuple(
                language_trial(
                    workload_params=LANGUAGE | {"num_micro_batches": num_parts},
                    method=method,
                    method_params={"tau": 1e-2} if method == "qk_clip" else {},
                    lr=lr,
                )
                for lr in (1e-3, 3e-3)
            )
        )
        for num_parts in (1, 4)
    ]
    whole, parts = map(advanced, packs)
    assert_losses_close(parts, whole, rtol=2e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_checkpointing_trains_as_keeping_does_on_cuda(dropout):
    plain, again = (advanced(language_pack(1, checkpointing=value, dropout=dropout)) for value in (False, True))
    assert_losses_close(again, plain, rtol=2e-3)


@pytest.mark.parametrize("saving", [{"checkpointing": True}, {"num_micro_batches": 8}])
def test_what_saves_memory_saves_memory(saving):
    """Peak of one training step beyond the weights and moments."""
    large = {"depth": 8, "width": 256, "num_heads": 8, "context": 128, "batch_size": 64}

    def peak(**settings: Any) -> int:
        run = PackRun(language_pack(1, **large, **settings), device="cuda")
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run.dry_step(only_training=True)
        return torch.cuda.max_memory_allocated() - before

    assert peak(**saving) < 0.75 * peak()


def test_an_aborted_lane_leaves_its_neighbour_as_it_is():
    """The lane whose largest logit rises higher is frozen at its alarm; the other is, to the bit, as without."""
    pack = Pack(trials=tuple(trial(seed=seed, probe_every=1) for seed in range(2)))
    whole_run = PackRun(pack, device="cuda")
    whole_run.advance()
    logits = {one: trace.filter(quantity="max_logit").sort("step") for one, trace in whole_run.traces().items()}
    peaks = {one: max(trace["value"].to_list()) for one, trace in logits.items()}
    lower, higher = sorted(peaks, key=lambda one: peaks[one])
    place = (pack.trials[0].workload.label, pack.trials[0].optimizer.label)
    watch = Watch(name="max_logit", thresholds={place: (peaks[lower] + peaks[higher]) / 2})
    run = PackRun(pack, device="cuda", watch=watch)
    run.advance()
    assert run.traces()[lower].equals(whole_run.traces()[lower])
    aborted = {result.trial.id: result.aborted_step for result in run.results()}
    assert aborted[lower] is None
    last = pack.trials[0].num_steps - 1
    alarm = logits[higher].filter(polars.col("value") > watch.thresholds[place])["step"][0]
    assert aborted[higher] == (alarm if alarm < last else None)


def trainable_of(*packs: Pack) -> PackTrainable:
    """A worker about to train the first, without Ray."""
    worker = PackTrainable.__new__(PackTrainable)
    worker.setup(
        whole(packs[0]),
        packs={pack.id: pack for pack in packs},
        device="cuda",
        options=WorkerOptions(checkpoints=Checkpoints(uri="/nowhere", token="", variant="cuda")),
    )
    return worker


def whole(pack: Pack) -> dict[str, Any]:
    """The configuration that names all lanes of a pack."""
    return {"pack": pack.id, "start": 0, "stop": len(pack.trials)}


def outcomes(worker: PackTrainable, trials: tuple[Trial, ...]) -> list[Outcome]:
    report = worker.step()
    while not report["done"]:
        report = worker.step()
    assert {result.trial for result in report["finished"].results} == set(trials)
    return [result.outcome for result in report["finished"].results]


def test_a_model_that_does_not_fit_is_an_outcome_and_what_follows_trains():
    """Of a pack that does not fit, each lane alone does not either; the worker goes on with a pack that does."""
    huge = {"model": "gpt2_124m", "depth": 12, "width": 768, "num_heads": 12, "context": 256, "batch_size": 2**14}
    too_large, small = language_pack(2, **huge), language_pack()
    worker = trainable_of(too_large, small)
    assert outcomes(worker, too_large.trials) == [Outcome.OUT_OF_MEMORY] * 2
    assert worker.reset_config(whole(small))
    assert outcomes(worker, small.trials) == [Outcome.COMPLETED] * 2


def test_what_a_captured_call_reads_lives_as_long_as_the_call():
    """Freed, it would be given to others: constants of a trace, and what an iterated probe carries, were."""
    size = 2**22

    def captured() -> tuple[Callable[[], Any], torch.Tensor]:
        own, out = (torch.full((size,), value, device="cuda") for value in (2.0, 0.0))
        call = repeatable(torch.device("cuda"), lambda: out.copy_(own * 3), lambda: own * 3, new_pool(out.device))
        return call, out

    call, out = captured()
    gc.collect()
    others = [torch.full((size,), torch.nan, device="cuda") for _ in range(8)]
    call()
    assert (out == 6).all()
    assert all(other.isnan().all() for other in others)
