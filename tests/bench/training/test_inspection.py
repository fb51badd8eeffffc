"""Looking inside a run: it is the run that was stored, and what is seen is what training saw.

Shapes: L lanes, A layers, B batch, S sequences, H heads, Q queries, K keys.
"""

import dataclasses
import functools
import math

import numpy
import polars as pl
import pytest
import torch

from analysis.figures.frames.inspected import GAMMAS, NUM_LOOKS, entropy_by_layer, spread
from bench.errors import UsageError
from bench.methods.mask import Mask
from bench.methods.sigma_reparam import SigmaReparamQK
from bench.methods.softmax import Softmax
from bench.models.attention import Mode, attend
from bench.outcome import RESULT_COLUMNS
from bench.probes.gains import gains, mean_product, root_mean_square, spectral_norm
from bench.training import inspection
from bench.training.inspection import (
    Agreement,
    agreement,
    check_inspectable,
    company,
    histogram_bins,
    inspect,
    look_steps,
    num_parameters,
    scales_of,
    stacked_weights,
)
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.workloads import WORKLOADS
from bench.workloads.in_context_regression import InContextRegression
from tests.trials import choice, language_trial, trained, trial

STEPS, TWO_LAYERS = {"num_steps": 24}, {"num_steps": 24, "depth": 2}
FREE = trial(method="qk_layernorm_free", workload_params=TWO_LAYERS, lr=0.02)
METHOD_TRIALS = {
    "qk_layernorm_free": FREE,
    "sigma_reparam_qk": trial(method="sigma_reparam_qk", workload_params=STEPS, lr=0.02),
    "window_softmax": trial(method="window_softmax", method_params={"width": 1}, workload_params=STEPS, lr=0.02),
}
ONE_LAYER = METHOD_TRIALS["window_softmax"]
DIVERGING = trial(lr=30, workload_params=STEPS)


def pack_of(one):
    """Where it trains, beside another seed."""
    return Pack(trials=(one, dataclasses.replace(one, seed=5)))


def stored(*trials):
    """Results and traces as the store has them, of trials that were trained in packs of several lanes."""
    results, traces = [], []
    for one in trials:
        packed = trained(*pack_of(one).trials)
        results.append(next(result for result in packed[0] if result.trial == one).row())
        traces.append(packed[1][one.id].with_columns(trial_id=pl.lit(one.id)))
    schema = {name: getattr(pl, kind) for name, kind in RESULT_COLUMNS.items()}
    return pl.DataFrame(results, schema=schema), pl.concat(traces)


@functools.cache
def seen(*trials, steps=None):
    packs = {one.id: pack_of(one) for one in trials}
    return inspect(trials, *stored(*trials), packs=packs, device="cpu", steps=steps)


@functools.cache
def all_seen():
    return seen(*METHOD_TRIALS.values())


def traced(one, quantity: str, step: int) -> list[float]:
    """A quantity of each layer."""
    rows = stored(one)[1].filter(quantity=quantity, step=step).sort("layer")
    return rows["value"].to_list()


def test_what_is_seen_of_a_trial_is_its_own_whatever_its_neighbours_do():
    """In packs of one size, which run the same kernels, exactly: a neighbour diverges, others train on."""
    one, fine = ONE_LAYER, dataclasses.replace(ONE_LAYER, seed=5)
    bad = dataclasses.replace(fine, knobs=dataclasses.replace(fine.knobs, lr=1e30))
    looks = [
        inspect([one], *stored(one), packs={one.id: Pack(trials=(first, one, fine))}, device="cpu")[0]
        for first in (bad, dataclasses.replace(fine, seed=7))
    ]
    assert looks[0].gains.equals(looks[1].gains)
    assert looks[0].histograms.equals(looks[1].histograms)
    for shot, other in zip(*(look.snapshots for look in looks), strict=True):
        assert (shot.p_ASHQK == other.p_ASHQK).all()


def test_a_run_that_is_looked_into_is_the_stored_one_bit_for_bit():
    """In the company that it was trained in, although it is looked into on the way."""
    agreements = all_seen()[1]
    num_losses = len({*range(0, 24, 3), 23})
    assert agreements == [
        Agreement(method=name, num_losses=num_losses, largest_difference=0.0, parted_step=None)
        for name in METHOD_TRIALS
    ]


def test_a_run_that_is_looked_into_alone_is_the_stored_one_to_rounding():
    """Over 8 steps, as test_company.py has it; on some processors this trial parts from itself after 20."""
    alone = {FREE.id: Pack(trials=(FREE,))}
    _, [agreed] = inspect([FREE], *stored(FREE), packs=alone, device="cpu", steps=(0, 7))
    assert agreed.num_losses == len({0, 3, 6})
    assert agreed.largest_difference < 1e-3
    assert agreed.parted_step is None


def test_the_company_of_a_trial_is_its_pack_in_an_undisturbed_run(monkeypatch):
    """Of 12 trials of each of two methods at most 6 share a pack on four CPUs; one whose P would be large is alone."""
    groups = [[dataclasses.replace(one, seed=seed) for seed in range(12)] for one in (FREE, trial(method="qk_norm"))]
    suite, one = [*groups[0], *groups[1]], groups[0][7]
    assert company([one], suite, device="cpu") == {one.id: Pack(trials=tuple(groups[0]))}
    assert company([one], suite, device="cpu", num_slots=4) == {one.id: Pack(trials=tuple(groups[0][6:]))}
    monkeypatch.setattr(inspection, "MAX_WEIGHTS", 11 * inspection._num_weights(one))
    assert company([one], suite, device="cpu") == {one.id: Pack(trials=(one,))}


def test_looking_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with inspection.one_thread():
            inside = torch.get_num_threads()
        assert (inside, torch.get_num_threads()) == (1, 2)
    finally:
        torch.set_num_threads(before)


def test_a_run_that_diverged_is_seen_up_to_the_step_before():
    results, _ = stored(DIVERGING)
    diverged_step = results["diverged_step"][0]
    assert 1 < diverged_step < 23
    looked, [agreed] = seen(DIVERGING)
    assert looked.gains["step"].max() == diverged_step - 1
    assert looked.diverged == {"softmax"}
    assert agreed.largest_difference == 0
    assert agreed.num_losses > 0


def test_entropies_of_snapshots_are_those_that_were_traced():
    """Of the whole probed batch, so that both are means over the same rows; float32."""
    with inspection.one_thread():
        looked = PackRun(Pack(trials=(METHOD_TRIALS["window_softmax"],)))
    for step in (0, 3, 21):
        looked.advance(max_steps=step - looked.step)
        p_ABHQK = numpy.stack([p_LBHQK[0].numpy() for p_LBHQK in looked.look()[2]])
        expected = traced(METHOD_TRIALS["window_softmax"], "entropy", step)
        numpy.testing.assert_allclose(entropy_by_layer(p_ABHQK), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["sigma_reparam_qk", "window_softmax"])
def test_snapshots_are_stochastic_and_zero_where_masked(name):
    shots = [shot for shot in all_seen()[0].snapshots if shot.method == name]
    assert len(shots) == NUM_LOOKS
    for shot in shots:
        assert shot.p_ASHQK.shape == (1, inspection.NUM_SEQUENCES, 1, 6, 6)
        numpy.testing.assert_allclose(shot.p_ASHQK.sum(axis=-1), 1, rtol=1e-5)
        assert (shot.p_ASHQK >= 0).all()
        if name == "window_softmax":
            far = numpy.abs(numpy.subtract.outer(range(6), range(6))) > 1
            assert (shot.p_ASHQK[..., far] == 0).all()
            assert (shot.p_ASHQK[..., ~far] > 0).all()


def test_gammas_are_the_lanes_own():
    run = PackRun(Pack(trials=(FREE,)))
    run.advance(max_steps=7)
    params = run.state()["lanes"]["params"]
    gains_at_7 = seen(FREE, steps=(2, 7))[0].gains.filter(step=7)
    for layer in range(2):
        q, k = (params[f"layers.{layer}.method.gamma_{role}"][0] for role in "qk")
        assert (q != 1).any()
        found = dict(gains_at_7.filter(layer=layer).select("quantity", "value").iter_rows())
        expected = {
            "gamma_query": (float(q.square().sum()) / 3) ** 0.5,
            "gamma_key": (float(k.square().sum()) / 3) ** 0.5,
            "gamma_product": float((q * k).abs().mean()),
            "spectral_norm_query": torch.linalg.svdvals(params[f"layers.{layer}.query.weight"][0])[0].item(),
            "spectral_norm_key": torch.linalg.svdvals(params[f"layers.{layer}.key.weight"][0])[0].item(),
        }
        assert found == pytest.approx(expected, rel=1e-5)


def test_gammas_that_are_fixed_are_ones():
    run = PackRun(Pack(trials=(trial(method="qk_layernorm_fixed"),)))
    params, buffers = ({name: tensor[0] for name, tensor in part.items()} for part in run.look()[:2])
    found = gains(scales_of(run.program.method, params, buffers, run.program.workload.layers[0]))
    assert {name: found[name] for name in GAMMAS} == dict.fromkeys(GAMMAS, 1.0)


def test_spectral_norms_of_sigma_reparam_start_as_its_gammas():
    """What multiplies is gamma W / sigma: |gamma| at the start; later no less, for power iteration comes from below."""
    found = all_seen()[0].gains.filter(method="sigma_reparam_qk").pivot(on="quantity", values="value").sort("step")
    assert found["spectral_norm_query"][0] == pytest.approx(1, rel=1e-3)
    assert (found["gamma_query"] != 1).any()
    assert (found["spectral_norm_query"] >= found["gamma_query"] * (1 - 1e-5)).all()


def test_methods_without_gammas_have_spectral_norms_alone():
    found = all_seen()[0].gains.filter(method="window_softmax")["quantity"].unique().to_list()
    assert sorted(found) == ["spectral_norm_key", "spectral_norm_query"]


def test_gains_worked_out_by_hand():
    assert root_mean_square(torch.tensor([3.0, -4.0, 0.0, 0.0])) == 2.5
    assert mean_product(torch.tensor([1.0, -2.0]), torch.tensor([3.0, 4.0])) == 5.5
    assert spectral_norm(torch.diag(torch.tensor([1.0, -7.0]))).item() == pytest.approx(7)
    assert spectral_norm(torch.full((2, 2), math.inf)).isnan()


def test_steps_to_look_at():
    assert look_steps(1, None) == [0]
    assert look_steps(3, None) == [0, 1, 2]
    assert look_steps(2000, 0) == [0]
    assert look_steps(2000, 2) == [0, 1]
    assert look_steps(2000, 700)[-1] == 699
    steps = look_steps(2000, None)
    assert (steps[:2], steps[-1], len(steps) <= inspection.NUM_STEPS) == ([0, 1], 1999, True)
    assert spread([0, 1, 5, 9, 50, 99], 3) == [0, 9, 99]


def test_steps_of_the_caller_are_those_looked_at():
    looked, [agreed] = seen(FREE, steps=(2, 7))
    assert looked.gains["step"].unique().sort().to_list() == [2, 7]
    assert agreed.num_losses == 3  # steps 0, 3 and 6: it is trained no further
    late = seen(DIVERGING, steps=(23,))[0]
    assert late.gains["step"].unique().to_list() == [stored(DIVERGING)[0]["diverged_step"][0] - 1]


def test_steps_that_no_trial_has_are_refused():
    with pytest.raises(UsageError, match="must be from 0 to 23, got 5 to 24"):
        seen(FREE, steps=(5, 24))


def test_runs_that_part_are_told():
    """Relative, against the stored one; NaN agrees with NaN."""
    values = {"step": [0, 1, 2, 3], "quantity": "loss", "layer": -1}
    old = pl.DataFrame(values | {"value": [1.0, 2.0, 4.0, math.nan]})
    new = pl.DataFrame(values | {"value": [1.0, 2.0002, 4.4, math.nan]})
    found = agreement("softmax", old, new, 4)
    assert found.num_losses == 4
    assert found.largest_difference == pytest.approx(0.1)
    assert found.parted_step == 2
    assert agreement("softmax", old, new, 2).parted_step is None
    infinite = new.with_columns(value=pl.when(pl.col("step") == 1).then(math.inf).otherwise(pl.col("value")))
    assert agreement("softmax", old, infinite, 4).largest_difference == math.inf
    assert agreement("softmax", old.clear(), new, 4).num_losses == 0


def test_another_lr_parts_from_the_stored_run():
    """The proof can fail: the losses of another trial are not those stored."""
    results, traces = stored(ONE_LAYER)
    other = dataclasses.replace(ONE_LAYER, knobs=dataclasses.replace(ONE_LAYER.knobs, lr=0.2))
    relabelled = (frame.with_columns(trial_id=pl.lit(other.id)) for frame in (results, traces))
    seen, [agreed] = inspect([other], *relabelled, packs={other.id: pack_of(other)}, device="cpu")
    assert agreed.parted_step == 3
    assert seen.parted == {other.method.label: 3}


def test_histograms_hold_every_positive_weight_and_every_row():
    p_BHQK = numpy.array([[[[1.0, 0.0], [0.5, 0.5]]]])
    bins = pl.DataFrame(list(histogram_bins(p_BHQK)), schema=["of", "low", "high", "share"], orient="row")
    found = {of: rows.filter(pl.col("share") > 0) for (of,), rows in bins.group_by("of")}
    weights = found["weight"].sort("low")
    assert weights["share"].to_list() == pytest.approx([2 / 3, 1 / 3])
    assert weights["low"][0] < 0.5 <= weights["high"][0]
    entropies = found["entropy"].sort("low")
    assert entropies["share"].to_list() == [0.5, 0.5]
    assert (entropies["low"][0], entropies["high"][1]) == pytest.approx((0, math.log(2)))


def test_a_rows_entropy_is_of_the_row_divided_by_its_sum():
    p_BHQK = numpy.array([[[[0.1, 0.1], [0.0, 0.0]]]])
    bins = [bin for bin in histogram_bins(p_BHQK) if bin[0] == "entropy" and bin[3] > 0]
    assert [(low, share) for _, low, _, share in bins] == [(0.0, 0.5), (pytest.approx(math.log(2) * 39 / 40), 0.5)]


@pytest.mark.slow
def test_looking_into_a_language_model_sees_every_head():
    one = language_trial(method="qk_layernorm_weight_clipped")
    looked, [agreed] = seen(one)
    assert agreed.largest_difference == 0
    assert looked.snapshots[0].p_ASHQK.shape == (1, 2, 2, 8, 8)
    above = numpy.triu(numpy.ones((8, 8), dtype=bool), 1)
    assert (looked.snapshots[-1].p_ASHQK[..., above] == 0).all()


@pytest.mark.slow
def test_averaged_weights_are_looked_at_where_the_optimizer_evaluates_them():
    """Of schedule-free AdamW, as the traced entropies have it."""
    one = trial(optimizer="schedule_free_adamw", workload_params=STEPS, lr=0.1)
    run = PackRun(Pack(trials=(one,)))
    run.advance(max_steps=21)
    p_ABHQK = numpy.stack([p_LBHQK[0].numpy() for p_LBHQK in run.look()[2]])
    numpy.testing.assert_allclose(entropy_by_layer(p_ABHQK), traced(one, "entropy", 21), rtol=1e-5)


def test_what_was_seen_stays_as_it_was_when_training_goes_on():
    run = PackRun(Pack(trials=(ONE_LAYER, dataclasses.replace(ONE_LAYER, seed=1))))
    run.advance(max_steps=2)
    params, _, weights = run.look()
    kept = {name: tensor.clone() for name, tensor in params.items()}, [p.clone() for p in weights]
    run.advance(max_steps=5)
    assert all(torch.equal(params[name], tensor) for name, tensor in kept[0].items())
    assert all(torch.equal(p, q) for p, q in zip(weights, kept[1], strict=True))
    assert not torch.equal(run.look()[0]["layers.0.query.weight"], params["layers.0.query.weight"])
    assert weights[0].shape == (2, 4, 1, 6, 6)


def test_weights_are_kept_in_single_precision():
    """As if the same numbers had come in it, also under autocast."""
    q, k, v = torch.randn((3, 2, 1, 4, 3), generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    mask = Mask.shared(torch.ones(4, 4, dtype=torch.bool).tril(), "causal")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        watched = attend(Softmax(), q, k, v, mask, {}, Mode(keeps_weights=True), logit_scale=0.5)[1]
    assert watched is not None
    assert watched.dtype == torch.float32
    assert torch.equal(watched, Softmax().weights((q * 0.5).float(), k.float(), mask.allowed_B1QK, {}))


def test_models_too_large_to_train_again_on_a_cpu_are_refused():
    large = dataclasses.replace(FREE, workload=choice(WORKLOADS, "in_context_regression", dimension=600, depth=5))
    with pytest.raises(UsageError, match=r"5\.4M parameters; on a CPU a model of at most 3M .*--device cuda"):
        check_inspectable(large, "cpu")
    check_inspectable(large, "cuda")


def test_too_many_weights_are_refused_on_any_device():
    params = {"num_pairs": 3000, "batch_size": 8}
    long = dataclasses.replace(FREE, workload=choice(WORKLOADS, "in_context_regression", **params))
    for device in ("cpu", "cuda"):
        with pytest.raises(UsageError, match="360,240,040 attention weights"):
            check_inspectable(long, device)


def test_parameters_are_counted():
    """5 layers, three matrices of width 4; sigma-reparam adds a gamma for two of them."""
    workload = InContextRegression()
    assert num_parameters(workload, Softmax()) == 5 * 3 * 16
    assert num_parameters(workload, SigmaReparamQK()) == 5 * (3 * 16 + 2)


def test_weights_of_unequal_layers_are_one_array_and_padding_is_no_row():
    own, cross = numpy.full((1, 1, 2, 2), 0.5), numpy.full((1, 1, 3, 4), 0.25)
    own[0, 0, 1] = numpy.nan  # padding
    p_ASHQK = stacked_weights([own, cross])
    assert p_ASHQK.shape == (2, 1, 1, 3, 4)
    assert numpy.array_equal(p_ASHQK[1], cross)
    assert p_ASHQK[0, 0, 0, 0].tolist() == [0.5, 0.5, 0, 0]
    numpy.testing.assert_allclose(entropy_by_layer(p_ASHQK), [math.log(2), math.log(4)])
    shares = [share for of, _, _, share in histogram_bins(own) if of == "entropy" and share > 0]
    assert shares == [1.0]
