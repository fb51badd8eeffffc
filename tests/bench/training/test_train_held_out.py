"""Held-out evaluation: what it measures, when, and that it changes nothing.

Shapes: W held-out windows, N tokens of a window, V vocabulary, P predictions.
"""

import dataclasses
import functools
import math

import numpy
import polars as pl
import pytest
import torch

from bench.data.text.corpus import open_corpus
from bench.held_out import HELD_OUT_COLUMNS
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.dropout import Dropout
from bench.outcome import Outcome
from bench.training.history import History
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.workloads.language_modeling import LanguageModeling
from tests.trials import LEAN, corpus, language_trial, trained, trial

ONE = language_trial(lr=0.05, workload_params=LEAN | {"dropout": 0.1, "eval_batches": 3})  # evaluated at 0, 3, 6 and 8
MEASURES = LanguageModeling.measures
NO_DROPOUT = Dropout(rate=0.0)
BAD = dataclasses.replace(ONE, knobs=dataclasses.replace(ONE.knobs, lr=1e30))


def held_out_of(trace: pl.DataFrame) -> dict[str, dict[int, float]]:
    """Values by quantity and step."""
    part = trace.filter(pl.col("quantity").is_in(MEASURES))
    return {
        name: dict(part.filter(quantity=name).select("step", "value").sort("step").iter_rows()) for name in MEASURES
    }


@functools.cache
def run_in_float64() -> PackRun:
    run = PackRun(Pack(trials=(ONE,)), dtype="float64")
    run.advance()
    return run


def naive_measures(params: dict[str, torch.Tensor]) -> tuple[float, float, float, float]:
    """Loss, accuracy, calibration error and bits per byte, here a character, over all windows, by loops in Python."""
    workload = LanguageModeling(**ONE.workload.params)
    tokens = torch.from_numpy(open_corpus(corpus(), tokenizer="characters").val.astype(numpy.int64))
    num_windows, context = workload.eval_batches * workload.batch_size, workload.context
    starts = [int(i * (len(tokens) - context - 1) / (num_windows - 1)) for i in range(num_windows)]
    tokens_WN = torch.stack([tokens[start : start + context + 1] for start in starts])
    logits_WNV, _ = workload.network.forward(
        Softmax(), params, {"step": torch.tensor(0)}, tokens_WN[:, :-1], Mode(), NO_DROPOUT
    )
    p_PV = logits_WNV.softmax(dim=-1).flatten(0, 1).numpy()
    targets_P = tokens_WN[:, 1:].flatten().tolist()
    loss = -numpy.mean([math.log(p_V[target]) for p_V, target in zip(p_PV, targets_P, strict=True)])
    confidence_P = p_PV.max(axis=1)
    correct_P = p_PV.argmax(axis=1) == numpy.array(targets_P)
    error = 0.0
    for k in range(15):  # Guo et al. 2017, Eq. 3: bins (k / 15, (k + 1) / 15]
        in_bin_P = (confidence_P > k / 15) & (confidence_P <= (k + 1) / 15)
        if in_bin_P.any():
            error += in_bin_P.mean() * abs(correct_P[in_bin_P].mean() - confidence_P[in_bin_P].mean())
    return float(loss), float(correct_P.mean()), float(error), float(loss) / math.log(2)


def test_measures_of_the_untrained_and_of_the_trained_model_are_those_of_a_naive_loop():
    run = run_in_float64()
    started = PackRun(run.pack, dtype="float64").state()["lanes"]["params"]
    val_VLM = run.state()["history"]["val"]
    for row, params in ((0, started), (-1, run.state()["lanes"]["params"])):
        expected = naive_measures({name: tensor[0] for name, tensor in params.items()})
        assert val_VLM[row, 0].tolist() == pytest.approx(expected, rel=1e-12)


def test_results_hold_the_first_and_the_last_evaluation():
    run = run_in_float64()
    result, trace = run.results()[0], held_out_of(run.traces()[ONE.id])
    assert result.held_out["initial_val_loss"] == pytest.approx(trace["val_loss"][0], rel=1e-6)
    for name in MEASURES:
        assert result.held_out[name] == pytest.approx(trace[name][8], rel=1e-6)
    initial, last = result.held_out["initial_val_loss"], result.held_out["val_loss"]
    assert initial is not None
    assert last is not None
    assert last < initial - 0.2


def test_the_loss_at_init_is_measured_with_dropout_as_training_losses_are():
    """A model that does not move has the same loss before and after, over the same batches and parts of batches."""
    length = {"num_steps": 4, "final_loss_steps": 4, "num_micro_batches": 2}
    losses = {}
    for rate in (0.0, 0.5):
        still = language_trial(lr=0, workload_params=LEAN | length | {"dropout": rate})
        run = PackRun(Pack(trials=(still,)), dtype="float64")
        run.advance()
        result = run.results()[0]
        assert result.initial_loss == pytest.approx(result.final_loss, rel=1e-12)
        losses[rate] = result.initial_loss
    assert abs(losses[0.0] - losses[0.5]) > 1e-3


def test_the_least_held_out_loss_and_its_step_are_those_of_all_evaluations():
    """The first of equal ones; none of them where a lane diverged."""
    history = History(
        Pack(trials=(ONE, BAD)),
        LanguageModeling(**ONE.workload.params),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    for name in ("loss", "val"):
        history.tensors[name].zero_()
    history.tensors["val"][:, :, 0] = torch.tensor([4.0, 1.5, 1.5, 2.0])[:, None]  # at 0, 3, 6 and 8
    fine, diverged = (result.held_out for result in history.results([-1, 5], 1.0))
    assert (fine["val_loss"], fine["least_val_loss"], fine["least_val_loss_step"]) == (2.0, 1.5, 3)
    assert (diverged["least_val_loss"], diverged["least_val_loss_step"]) == (math.inf, None)


@pytest.mark.parametrize(
    ("num_steps", "every", "steps"),
    [(8, 3, [0, 3, 6, 8]), (8, 4, [0, 4, 8]), (8, 100, [0, 8]), (1, 1, [0, 1]), (3, 1, [0, 1, 2, 3])],
)
def test_evaluation_is_every_so_many_steps_and_at_both_ends(num_steps, every, steps):
    one = language_trial(workload_params={"num_steps": num_steps, "eval_every_steps": every})
    workload = LanguageModeling(**one.workload.params)
    history = History(Pack(trials=(one,)), workload, device=torch.device("cpu"), dtype=torch.float32)
    assert list(history.eval_rows) == steps


def test_traces_hold_every_evaluation_and_no_other_step():
    trace = held_out_of(run_in_float64().traces()[ONE.id])
    assert {name: list(by_step) for name, by_step in trace.items()} == {name: [0, 3, 6, 8] for name in MEASURES}
    assert all(math.isfinite(value) for by_step in trace.values() for value in by_step.values())


def test_evaluating_more_often_changes_no_training():
    """Nor the held-out values at steps that both look at."""
    often = dataclasses.replace(
        ONE, workload=dataclasses.replace(ONE.workload, params={**ONE.workload.params, "eval_every_steps": 1})
    )
    (result,), traces = trained(ONE)
    (other,), other_traces = trained(often)
    of_training, of_more = (
        trace.filter(~pl.col("quantity").is_in(MEASURES)) for trace in (traces[ONE.id], other_traces[often.id])
    )
    assert of_training.equals(of_more)
    assert dataclasses.replace(result, wall_s=0.0) == dataclasses.replace(other, trial=ONE, wall_s=0.0)
    for name, by_step in held_out_of(traces[ONE.id]).items():
        assert by_step.items() <= held_out_of(other_traces[often.id])[name].items()


def test_a_diverged_lane_has_infinite_loss_no_accuracy_and_a_trace_that_stops():
    results, traces = trained(ONE, BAD)
    fine, bad = results
    assert (fine.outcome, bad.outcome) == (Outcome.COMPLETED, Outcome.DIVERGED)
    start = pytest.approx(fine.held_out["initial_val_loss"], rel=1e-5)
    assert bad.held_out["initial_val_loss"] == start  # one seed, one start
    assert [bad.held_out[name] for name in MEASURES] == [math.inf, None, None, None]
    assert bad.diverged_step in (1, 2)
    for name in MEASURES:
        assert list(held_out_of(traces[BAD.id])[name]) == [0]
        assert list(held_out_of(traces[ONE.id])[name]) == [0, 3, 6, 8]
    alone = trained(ONE)[0][0]
    assert fine.final_loss == pytest.approx(alone.final_loss, rel=1e-3)
    measured = {name: value for name, value in alone.held_out.items() if value is not None}
    assert {name: fine.held_out[name] for name in measured} == pytest.approx(measured, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_the_last_update_blew_up_has_an_infinite_held_out_loss(optimizer):
    """Its weights are finite, about 1e38, and its training loss was measured before: without one it would be lost."""
    one_step = LEAN | {"num_steps": 1, "final_loss_steps": 1}
    (result,), _ = trained(language_trial(optimizer=optimizer, lr=1e38, workload_params=one_step))
    assert result.outcome == Outcome.COMPLETED
    assert (result.held_out["val_loss"], result.held_out["val_accuracy"]) == (math.inf, None)
    assert (result.held_out["least_val_loss"], result.held_out["least_val_loss_step"]) == (
        result.held_out["initial_val_loss"],
        0,
    )


def test_a_pack_of_diverged_lanes_reports_as_one_lane_does():
    (bad,), traces = trained(BAD)
    _, beside = trained(ONE, BAD)
    assert [bad.held_out[name] for name in MEASURES] == [math.inf, None, None, None]
    assert traces[BAD.id].drop("value").equals(beside[BAD.id].drop("value"))
    assert held_out_of(traces[BAD.id])["val_loss"] == pytest.approx(held_out_of(beside[BAD.id])["val_loss"], rel=1e-5)


def test_a_workload_without_held_out_data_reports_none():
    (result,), traces = trained(trial())
    assert result.held_out == dict.fromkeys(HELD_OUT_COLUMNS)
    assert held_out_of(traces[trial().id]) == {name: {} for name in MEASURES}
