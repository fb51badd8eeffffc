"""Trials with an intervention beside their twins: bit-equal until it acts, and then what it says; resumed mid-way."""

import dataclasses
import itertools

import polars as pl
import pytest
import torch

from bench.entry import load_class
from bench.errors import UsageError
from bench.interventions import INTERVENTIONS
from bench.interventions.base import OnAttention
from bench.methods.softmax import Softmax
from bench.suite import Suite
from bench.training.interventions import intervened_batch, intervened_grads
from bench.training.lane import LaneProgram
from bench.training.pack import Pack, make_packs
from bench.training.train import PackRun
from tests.repetitions import one_of_each_kind
from tests.trials import choice, lane_of, language_trial, trial

FROM, STEPS = 4, 3
EVERY_STEP = {"probe_every": 1, "workload_params": {"depth": 2, "num_steps": 10}, "optimizer": "adam", "lr": 0.05}


def twins(name: str, **params) -> tuple:
    """An untouched trial, and the same with an intervention from step FROM for STEPS steps unless told otherwise."""
    untouched = trial(**EVERY_STEP)
    params = {"from_step": FROM, "for_steps": STEPS} | params
    return untouched, dataclasses.replace(untouched, intervention=choice(INTERVENTIONS, name, **params))


def values(one, *pack, quantity: str = "loss", layer: int = -1) -> list[float]:
    """A quantity of a trial in a pack, step by step."""
    _, trace = lane_of(one, *pack)
    found = trace.filter((pl.col("quantity") == quantity) & (pl.col("layer") == layer))
    return found.sort("step")["value"].to_list()


def parted_at(first: list[float], second: list[float]) -> int | None:
    return next((step for step, (a, b) in enumerate(zip(first, second, strict=True)) if a != b), None)


@pytest.mark.parametrize("name", one_of_each_kind(INTERVENTIONS, ["logit_clamp", "batch_share"]))
def test_twins_are_equal_to_the_bit_until_the_step_and_part_there(name):
    """On attention the loss of the step itself is another; on updates that of the next."""
    stronger = {
        "logit_clamp": {"limit": 0.01},
        "entropy_floor": {"share": 1.0},
        "entropy_thermostat": {"set_point": 0.99999, "gain": 1e4},
        "batch_share": {"share": 0.25},
    }
    pair = twins(name, **stronger.get(name, {}))
    on_attention = issubclass(load_class(INTERVENTIONS[name]), OnAttention) or name == "batch_share"
    assert parted_at(*(values(one, *pair) for one in pair)) == FROM + (not on_attention)


def test_rows_that_are_swapped_for_good_are_those_of_the_other_method():
    untouched, swapped = twins("method_swapped", method="relu_kernel", from_step=0, for_steps=None)
    other = trial(**EVERY_STEP | {"method": "relu_kernel"})
    assert values(swapped, untouched, swapped) == pytest.approx(values(other, other), rel=1e-4)


@pytest.mark.repetition
def test_spectral_norms_are_held_while_weights_go_on():
    pair = twins("spectral_norm_held", from_step=2, for_steps=None)
    run = PackRun(Pack(trials=pair))
    found = []
    for step in (2, 4, 8):
        run.advance(max_steps=step - run.step)
        params = run.look()[0]
        found.append({role: params[f"layers.1.{role}.weight"].clone() for role in ("query", "key", "value")})
    for role in ("query", "key"):
        norms = [torch.linalg.matrix_norm(one[role], ord=2) for one in found]
        assert norms[2][1].item() == pytest.approx(norms[0][1].item(), rel=1e-4)
        assert norms[2][0].item() != pytest.approx(norms[0][0].item(), rel=1e-2)
        assert not torch.allclose(found[0][role][1], found[2][role][1], rtol=1e-2)


def test_a_share_of_the_batch_is_the_smaller_batch():
    """Of a batch of 4 whose second half repeats the first, what half of it gives from the start."""
    half = twins("batch_share", share=0.5, from_step=0, for_steps=1)[1]
    run = PackRun(Pack(trials=(half, dataclasses.replace(half, seed=1))))
    chunk, step = run._chunk, run._counters["step"]
    lane, batch = ({n: t[0] for n, t in of.items()} for of in (run._lanes["buffers"], run._stacked.batch(chunk, step)))
    for step, places in ((0, [0, 1, 0, 1]), (1, [0, 1, 2, 3])):
        found = intervened_batch(run.program.interventions, lane, batch, torch.tensor(step))
        assert all(torch.equal(tensor, batch[name][places]) for name, tensor in found.items())


class Halved(Softmax):
    """Softmax of half the logits."""

    def logits(self, q_BHQD, k_BHKD, mask_B1QK, state):
        return super().logits(q_BHQD, k_BHKD, mask_B1QK, state) / 2


def test_temperature_for_good_is_a_method_with_such_logits():
    pair = twins("temperature", temperature=2.0, from_step=0, for_steps=None)
    halved = trial(**EVERY_STEP | {"method": f"{__name__}:Halved"})
    assert values(pair[1], *pair) == pytest.approx(values(halved, halved), rel=1e-5)


@pytest.mark.parametrize(("name", "params"), [("lr_factor", {"factor": 0.0}), ("frozen", {})])
def test_what_is_held_stays_for_its_steps_and_moves_before_and_after(name, params):
    pair = twins(name, **params)
    run = PackRun(Pack(trials=pair))
    queries = []
    for step in range(10):
        run.advance(max_steps=step - run.step)
        queries.append(run.look()[0]["layers.1.query.weight"][1].clone())
    moved = [not torch.equal(a, b) for a, b in itertools.pairwise(queries)]
    assert moved == [not FROM <= step < FROM + STEPS for step in range(9)]


def test_frozen_parameters_are_those_that_are_named():
    untouched = trial(**EVERY_STEP | {"method": "qk_layernorm_free"})
    frozen = choice(INTERVENTIONS, "frozen", what="method", layers=(1,), from_step=0)
    run = PackRun(Pack(trials=(untouched, dataclasses.replace(untouched, intervention=frozen))))
    start = run.look()[0]
    run.advance(max_steps=3)
    after = run.look()[0]
    still = {name for name in start if torch.equal(start[name][1], after[name][1])}
    assert still == {"layers.1.method.gamma_q", "layers.1.method.gamma_k"}
    assert not [name for name in start if torch.equal(start[name][0], after[name][0])]


def test_an_intervention_acts_on_the_layers_that_it_names():
    pair = twins("temperature", layers=(1,))
    first, second = ([values(one, *pair, quantity="entropy", layer=layer)[FROM] for one in pair] for layer in (0, 1))
    assert first[0] == first[1]
    assert second[0] > second[1]


def test_an_intervention_acts_on_the_heads_that_it_names():
    untouched = language_trial()
    sharpened = choice(INTERVENTIONS, "temperature", heads=(1,), from_step=0)
    run = PackRun(Pack(trials=(untouched, dataclasses.replace(untouched, intervention=sharpened))))
    p_LBHQK = run.look()[2][0]
    assert torch.equal(p_LBHQK[0, :, 0], p_LBHQK[1, :, 0])
    assert not torch.equal(p_LBHQK[0, :, 1], p_LBHQK[1, :, 1])


def test_noise_has_the_share_of_the_gradient_that_is_asked_for():
    pair = twins("gradient_noise", share=0.5, from_step=0)
    run = PackRun(Pack(trials=pair))
    of_lane = {name: tensor[1] for name, tensor in run._lanes["buffers"].items()}
    grads = {"w": torch.ones(100, 100)}
    noisy, after = (
        intervened_grads(run.program.interventions, of_lane, torch.tensor(0), grads, torch.tensor(step))["w"]
        for step in (0, STEPS)
    )
    assert (noisy - 1).std().item() == pytest.approx(0.5, rel=0.05)
    assert torch.equal(after, grads["w"])


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(FROM, marks=pytest.mark.repetition),
        FROM + 1,
        pytest.param(FROM + STEPS, marks=pytest.mark.repetition),
    ],
)
def test_a_run_that_was_killed_during_an_intervention_goes_on_bit_for_bit(stop):
    pair = twins("entropy_floor", share=0.9)
    killed = PackRun(Pack(trials=pair))
    killed.advance(max_steps=stop)
    resumed = PackRun(Pack(trials=pair))
    resumed.load(killed.state())
    resumed.advance()
    for one in pair:
        trace = resumed.traces()[one.id].filter(pl.col("quantity") == "loss").sort("step")
        assert trace["value"].to_list() == values(one, *pair)


def suite(**fields) -> Suite:
    plain = {
        "name": "s",
        "workloads": [{"name": "in_context_regression", "num_steps": 20, "final_loss_steps": 5, "depth": 1}],
        "methods": ["softmax"],
        "optimizers": ["sgd"],
        "knobs": {"lr": [0.1, 1.0]},
        "seeds": 3,
        "probe_every": 5,
    }
    return Suite(**plain | fields)


def test_every_trial_with_an_intervention_has_its_twin_in_its_pack():
    found = suite(interventions=["temperature", "frozen"], knobs={"lr": [0.1, 1.0], "temperature": [0.5, 0.1]})
    trials = found.expand()
    assert len(trials) == found.num_trials == 2 * 3 * (1 + 2 + 1)
    assert {one.id for one in trials if one.intervention is None} == {one.id for one in suite().expand()}
    for max_lanes in (4, 9, 64):
        for pack in make_packs(trials, max_lanes=max_lanes):
            settings = [dataclasses.replace(one, intervention=None).id for one in pack.trials]
            assert {settings.count(one) for one in settings} == {4}
    assert {len(pack.trials) for pack in make_packs(trials, max_lanes=3)} == {3}  # fewer than twins are


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"interventions": [{"name": "temperature", "from_step": 20}]}, r"from_step must be below num_steps .*\(20\)"),
        ({"interventions": [{"name": "temperature", "layers": [1]}]}, "layer 1 is not there; .* layers 0 to 0"),
        ({"interventions": [{"name": "temperature", "heads": [3]}]}, "head 3 is not there"),
        ({"interventions": [{"name": "frozen", "layers": [2]}]}, "layer 2 is not there"),
        (
            {"interventions": ["batch_share"], "workloads": [{"name": "self_supervised_images", "num_steps": 20}]},
            "it repeats examples, which the loss of self-supervised learning of images tells apart",
        ),
        ({"interventions": ["logit_clamp"], "methods": ["softmax", "relu_kernel"]}, "rows of relu_kernel follow from"),
        ({"interventions": [{"name": "temperature", "temperature": 0}]}, "greater than 0"),
        ({"interventions": ["temprature"]}, "did you mean 'temperature'"),
        ({"interventions": ["temperature"], "knobs": {"lr": 0.1, "from_step": [5, 50]}}, "below num_steps"),
    ],
)
def test_what_could_not_act_is_refused_with_its_place(fields, message):
    with pytest.raises(UsageError, match=rf"^Suite: interventions\[0\].*{message}"):
        suite(**fields)


def test_the_program_of_untouched_trials_is_as_without_interventions():
    untouched, _ = twins("temperature")
    run = PackRun(Pack(trials=(untouched,)))
    assert run.program == LaneProgram.of(untouched)
    assert not [name for name in run._lanes["buffers"] if name.startswith("interventions.")]
