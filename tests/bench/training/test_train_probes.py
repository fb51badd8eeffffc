"""Probes in training: those of a trial are traced, each at its own cadence, and change nothing else."""

import dataclasses
import math
from typing import ClassVar

import polars as pl
import pytest

from bench.entry import load_class
from bench.probes import PROBES, build_probes
from bench.probes.base import Probe
from bench.trace import WHOLE_MODEL, Quantity
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Choice, Trial
from tests.trials import choice, trained, trial

DEEP = {"depth": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LargestWeight(Probe):
    """The largest weight of a layer to a power, and its mean over layers."""

    power: float = 1.0
    quantities: ClassVar = {
        "largest_weight": Quantity(
            title="Largest weight", unit="1", low=0.0, high=float, definition="max P", per_layer=True, merge="max"
        ),
        "largest_weight_mean": Quantity(
            title="Largest weight, mean over layers",
            unit="1",
            low=0.0,
            high=float,
            definition="mean of `largest_weight` over layers",
            over_layers=("largest_weight", "mean"),
        ),
    }

    def measure(self, layer):
        return {"largest_weight": layer.p_BHQK.amax() ** self.power}


def probe(name: str, **params) -> Choice:
    return Choice(name=name, params={"every": None, **params})


OURS = probe(f"{__name__}:LargestWeight", every=2, power=2.0)


def with_probes(*probes: Choice, **changes) -> Trial:
    return dataclasses.replace(trial(workload_params=DEEP, **changes), probes=probes)


MIXED = (probe("entropy"), OURS, probe("max_logit", every=5))


def steps_of(trace: pl.DataFrame) -> dict[str, list[int]]:
    return {
        str(name): group["step"].unique().sort().to_list()
        for (name,), group in trace.group_by("quantity", maintain_order=True)
    }


def part_of(trace: pl.DataFrame, quantity: str) -> pl.DataFrame:
    return trace.filter(quantity=quantity).drop("quantity")


def test_each_probe_is_traced_at_its_own_cadence_and_at_the_last_step():
    one = with_probes(*MIXED)
    trace = trained(one)[1][one.id]
    usual, often, seldom = [0, 3, 6, 7], [0, 2, 4, 6, 7], [0, 5, 7]
    of_entropy = build_probes([probe("entropy")])[0].quantities
    assert steps_of(trace) == {
        **dict.fromkeys(("loss", "grad_norm", *of_entropy), usual),
        **dict.fromkeys(("largest_weight", "largest_weight_mean"), often),
        "max_logit": seldom,
    }
    per_layer = part_of(trace, "largest_weight")
    assert per_layer["layer"].unique().sort().to_list() == [0, 1]
    whole = part_of(trace, "largest_weight_mean")
    assert whole["layer"].unique().to_list() == [WHOLE_MODEL]
    means = per_layer.group_by("step").agg(pl.col("value").mean()).sort("step")["value"].to_list()
    assert whole["value"].to_list() == pytest.approx(means, rel=1e-6)
    assert per_layer["value"].is_between(0, 1).all()


def test_what_is_probed_changes_no_training():
    one, usual = with_probes(*MIXED), trial(workload_params=DEEP)
    assert one.id != usual.id
    (result,), traces = trained(one)
    (other,), other_traces = trained(usual)
    assert dataclasses.replace(result, trial=usual, wall_s=0.0) == dataclasses.replace(other, wall_s=0.0)
    for quantity in ("loss", "grad_norm", "entropy"):
        assert part_of(traces[one.id], quantity).equals(part_of(other_traces[usual.id], quantity))
    assert (
        part_of(traces[one.id], "max_logit")
        .filter(step=0)
        .equals(part_of(other_traces[usual.id], "max_logit").filter(step=0))
    )


@pytest.mark.parametrize(
    ("workload", "method", "expected"),
    [
        ("in_context_regression", "softmax", math.log(6)),  # 5 pairs and the query see all
        ("in_context_regression", "window_softmax", (2 * math.log(2) + 4 * math.log(3)) / 6),
        ("language_modeling", "softmax", math.lgamma(9) / 8),  # causal, 8 tokens
        ("language_modeling", "window_softmax", 7 / 8 * math.log(2)),
    ],
)
def test_the_most_entropy_of_a_method_is_traced_with_it(workload, method, expected):
    of_method = {"width": 1} if method == "window_softmax" else {}
    one = trial(workload=workload, method=method, method_params=of_method)
    trace = trained(one)[1][one.id]
    most = part_of(trace, "uniform_entropy")
    assert most["value"].to_list() == pytest.approx([expected] * most.height, rel=1e-6)
    both = part_of(trace, "entropy").join(part_of(trace, "least_head_entropy"), on=["step", "layer"], suffix="_least")
    assert (both["value_least"] <= both["value"] + 1e-6).all()
    assert (both["value"] <= expected + 1e-5).all()


def test_a_setting_of_a_probe_has_effect():
    plain = with_probes(probe(f"{__name__}:LargestWeight", every=2, power=1.0))
    squared = with_probes(OURS)
    one, other = (part_of(trained(each)[1][each.id], "largest_weight")["value"] for each in (plain, squared))
    assert (one**2).to_list() == pytest.approx(other.to_list(), rel=1e-5)


def test_a_lane_is_probed_as_its_solo_run_is():
    """To rounding, beside a lane that diverges."""
    one = with_probes(*MIXED, lr=0.1)
    company = (with_probes(*MIXED, lr=0.4, seed=1), one, with_probes(*MIXED, lr=1e30))
    alone, beside = trained(one)[1][one.id], trained(*company)[1][one.id]
    assert alone.drop("value").equals(beside.drop("value"))
    assert beside["value"].to_list() == pytest.approx(alone["value"].to_list(), rel=1e-4, abs=1e-6)


def test_a_diverged_lane_is_probed_up_to_its_last_step():
    one = with_probes(*MIXED, lr=1e30)
    (result,), traces = trained(one)
    assert result.diverged_step is not None
    assert max(max(steps) for steps in steps_of(traces[one.id]).values()) <= result.diverged_step


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_resume_goes_on_with_every_cadence(stop):
    pack = Pack(trials=(with_probes(*MIXED), with_probes(*MIXED, seed=1)))
    first, whole = PackRun(pack), PackRun(pack)
    whole.advance()
    first.advance(max_steps=stop)
    second = PackRun(pack)
    second.load(first.state())
    second.advance()
    for one in pack.trials:
        assert second.traces()[one.id].equals(whole.traces()[one.id])


ITERATED = ("hessian", "sharpness", "critical_sharpness")
OF_MODELS = tuple(
    choice(PROBES, name, every=4, **({"iterations": 4} if name in ITERATED else {}))
    for name, target in PROBES.items()
    if not load_class(target).is_of_attention
)


def of_models(*probes: Choice, **changes) -> Trial:
    return with_probes(probe("entropy"), *(probes or OF_MODELS), optimizer="adamw", lr=0.02, **changes)


def test_probes_of_the_model_change_no_training_and_are_traced_at_their_cadence():
    """gammas: softmax has none, so that nothing is traced of them."""
    one = of_models()
    (result,), traces = trained(one)
    usual = with_probes(probe("entropy"), optimizer="adamw", lr=0.02)
    (other,), other_traces = trained(usual)
    assert result.final_loss == other.final_loss
    assert part_of(traces[one.id], "loss").equals(part_of(other_traces[usual.id], "loss"))
    steps = steps_of(traces[one.id])
    declared = {name for each in build_probes(OF_MODELS) for name in each.quantities}
    assert {"sharpness", "edge_ratio", "query_norm", "weight_norm_query", "update_curvature"} <= steps.keys()
    assert {name for name in declared if "gamma" in name}.isdisjoint(steps)
    assert steps.pop("moment_spike_share") == [4, 7]  # it needs moments of steps before
    assert {tuple(steps[name]) for name in declared & steps.keys()} == {(0, 4, 7)}
    assert part_of(traces[one.id], "query_norm")["layer"].unique().sort().to_list() == [0, 1]
    assert part_of(traces[one.id], "sharpness")["layer"].unique().to_list() == [WHOLE_MODEL]


@pytest.mark.repetition
def test_a_model_is_probed_as_alone_beside_a_lane_that_diverges():
    """To rounding, which critical sharpness, a bisection, need not keep to."""
    alone, pack = of_models(), (of_models(seed=1), of_models(), of_models(init_scale=1e30))
    first, second = (trained(*trials)[1][alone.id] for trials in ((alone,), pack))
    assert first.drop("value").equals(second.drop("value"))
    is_smooth = ~pl.col("quantity").is_in(["critical_sharpness", "critical_edge_ratio"])
    one, other = (trace.filter(is_smooth)["value"].to_numpy() for trace in (first, second))
    assert other == pytest.approx(one, rel=2e-2, abs=1e-4, nan_ok=True)


@pytest.mark.repetition
def test_a_resume_goes_on_with_probes_of_the_model():
    some = [each for each in OF_MODELS if each.name in ("sharpness", "second_moments")]
    pack = Pack(trials=(of_models(*some), of_models(*some, seed=1)))
    first, second = PackRun(pack), PackRun(pack)
    first.advance(max_steps=5)
    second.load(first.state())
    for run in (first, second):
        run.advance()
    assert all(second.traces()[one.id].equals(first.traces()[one.id]) for one in pack.trials)


def test_no_probes_leave_losses_and_gradient_norms():
    one = with_probes()
    trace = trained(one)[1][one.id]
    assert list(steps_of(trace)) == ["loss", "grad_norm"]
    assert math.isfinite(trace["value"].sum())
