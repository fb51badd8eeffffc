"""What every workload keeps to: data of (seed, step) alone, and every declared parameter acts."""

import dataclasses
import functools
import math
import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

from bench.entry import load_class, parameters
from bench.held_out import HELD_OUT
from bench.methods.qk_layernorm import QKLayerNormFree
from bench.methods.softmax import Softmax
from bench.optimizers.schedules import Cosine
from bench.optimizers.sgd import SGD
from bench.probes import build_probes
from bench.probes.base import measured_by
from bench.training.lane import LaneProgram
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload
from tests.conformance.workload_settings import CHANGES, ELSEWHERE, SETTINGS
from tests.trials import text
from tests.variants import differ

PROBES = build_probes(None)


@pytest.fixture(scope="module", autouse=True)
def corpora(tmp_path_factory):
    """Texts to train on, whose tokens are cached among the tests' files."""
    folder = tmp_path_factory.mktemp("corpora")
    for name, num_sentences in (("text", 100), ("other", 120)):
        (folder / name).write_text(text(num_sentences))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BENCH_DATA", str(folder / "cache"))
        yield


def workload_of(name: str, **settings: Any) -> Workload:
    corpus = {"corpus": "text"} if name == "language_modeling" else {}
    return load_class(WORKLOADS[name])(**(SETTINGS[name] | corpus | settings))


@pytest.fixture(params=WORKLOADS)
def workload(request) -> Workload:
    return workload_of(request.param)


def program_of(workload: Workload) -> LaneProgram:
    return LaneProgram(workload=workload, method=Softmax(), optimizer=SGD(), schedule=Cosine())


def started(workload: Workload, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    return program_of(workload).start(torch.tensor(0), torch.tensor(1.0, dtype=dtype))


def cast(batch: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in batch.items()}


def batch_at(workload: Workload, step: int, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    batches = workload.batches(torch.tensor([0]), torch.tensor([step]))
    return cast({name: tensor[0, 0] for name, tensor in batches.items()}, dtype)


def held_out_of(workload: Workload, dtype: torch.dtype = torch.float64) -> list[dict[str, torch.Tensor]]:
    held_out = cast(workload.held_out(torch.device("cpu")), dtype)
    num_batches = {len(tensor) for tensor in held_out.values()} or {0}
    return [{name: tensor[e] for name, tensor in held_out.items()} for e in range(num_batches.pop())]


def training(workload: Workload) -> list:
    """What three steps see and leave behind, then measures on held-out data; in float32, which autocast acts on."""
    program, lane = program_of(workload), started(workload, torch.float32)
    knobs = {"lr": 0.1, "warmup_steps": 0.0, "weight_decay": 0.0, "grad_clip": math.inf}
    knobs = {name: torch.tensor(value) for name, value in knobs.items()}
    seen: list[Any] = [workload.eval_every]
    for step in range(3):
        batch, now = batch_at(workload, step, torch.float32), torch.tensor(step)
        observed = program.observe(lane, batch, now, probes=PROBES)
        lane, loss, _ = program.train(lane, batch, knobs, now)
        assert lane["alive"]
        seen.append((lane["params"], loss, observed))
    return [*seen, *(program.evaluate(lane, batch, torch.tensor(3)) for batch in held_out_of(workload, torch.float32))]


@functools.cache
def training_with(name: str, settings: frozenset) -> list:
    return training(workload_of(name, **dict(settings)))


@pytest.mark.parametrize(("name", "parameter"), [(name, one) for name in CHANGES for one in CHANGES[name]])
def test_every_parameter_changes_training(name, parameter):
    changed = CHANGES[name][parameter]
    base = {other: value for other, value in changed.items() if other != parameter}
    assert differ(*(training_with(name, frozenset(settings.items())) for settings in (base, changed)))


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_parameter_is_covered_above(name):
    declared = parameters(load_class(WORKLOADS[name])).keys()
    assert CHANGES[name].keys() == declared - ELSEWHERE.keys()


def test_held_out_data_give_the_declared_measures_within_their_bounds(workload):
    """From means over batches, for every lane."""
    program, lane = program_of(workload), started(workload)
    batches = [program.evaluate(lane, batch, torch.tensor(0)) for batch in held_out_of(workload)]
    assert bool(batches) == (workload.eval_every is not None)
    means_of = [{name: torch.stack([mean, mean]) for name, mean in batch.items()} for batch in batches]
    for means in means_of:
        measured = workload.held_out_measures(means)
        assert measured.keys() == set(workload.measures) <= HELD_OUT.keys()
        for name, value_L in measured.items():
            assert value_L.shape == (2,)
            assert HELD_OUT[name].low <= value_L[0] <= HELD_OUT[name].high


def test_tensors_of_layers_are_the_layers_own_and_alike(workload):
    """Two layers, and tensors that a method adds to each; what no layer has is in none."""
    program = dataclasses.replace(program_of(dataclasses.replace(workload, depth=2)), method=QKLayerNormFree())
    layers = program.workload.layers
    assert len(layers) == program.workload.num_layers == len(set(layers)) == 2
    params = program.start(torch.tensor(0), torch.ones(()))["params"]
    by_layer = [
        {name.removeprefix(layer.prefix): p.shape for name, p in params.items() if name.startswith(layer.prefix)}
        for layer in layers
    ]
    assert by_layer[0] == by_layer[1]
    assert {"query.weight", "key.weight", "value.weight", "method.gamma_q"} <= by_layer[0].keys()
    assert not [name for name in params if re.search(r"\d", name) and not name.startswith(("layers.0.", "layers.1."))]


def test_batches_depend_on_seed_and_step_alone(workload):
    seeds, steps = torch.tensor([5, 1, 2**40, 7]), torch.tensor([0, 1, 63, 64, 100_000])
    together = workload.batches(seeds, steps)
    for s, seed in enumerate(seeds):
        for t, step in enumerate(steps):
            alone = workload.batches(seed[None], step[None])
            assert alone.keys() == together.keys()
            for name, tensor in alone.items():
                torch.testing.assert_close(tensor[0, 0], together[name][t, s], rtol=1e-5, atol=1e-6)


def test_batches_differ_by_seed_and_by_step(workload):
    batches = workload.batches(torch.arange(3), torch.arange(4))
    for tensor in batches.values():
        assert tensor.shape[:2] == (4, 3)
        assert len({tuple(batch.flatten().tolist()) for batch in tensor.flatten(0, 1)}) == 12


@dataclass(frozen=True, kw_only=True)
class Recording(Softmax):
    """Softmax that notes the queries' shapes and the masks that it gets."""

    shapes: list = dataclasses.field(default_factory=list)
    masks: list = dataclasses.field(default_factory=list)

    def restrict(self, mask):
        self.masks.append(mask)
        return super().restrict(mask)

    def weights(self, q_BHQD, k_BHKD, mask_QK, state):
        self.shapes.append((q_BHQD.shape[1], q_BHQD.shape[3], k_BHKD.shape[2]))
        return super().weights(q_BHQD, k_BHKD, mask_QK, state)


def test_layers_heads_and_keys_are_as_stated(workload):
    """Every layer is observed; no row has more keys than `num_keys`, some row as many."""
    method = Recording()
    program = dataclasses.replace(program_of(workload), method=method)
    observed = program.observe(started(workload), batch_at(workload, 0), torch.tensor(0), probes=PROBES)
    assert observed.shape == (len(measured_by(PROBES)), workload.num_layers)
    heads, kind = workload.attention
    assert set(method.shapes) == {(heads.num_heads, heads.width, heads.num_keys)}
    assert {mask.kind for mask in method.masks} == {kind}
    assert {int(mask.allowed_QK.sum(dim=-1).max()) for mask in method.masks} == {workload.num_keys}


def test_loss_is_a_mean_and_equals_what_is_evaluated(workload):
    """Over two halves of a batch."""
    program, lane = program_of(workload), started(workload)
    batch = {name: tensor[:4] for name, tensor in batch_at(workload, 0).items()}
    now, zero = torch.tensor(0), torch.tensor(0)

    def losses(part: slice) -> tuple[float, float]:
        own = {name: tensor[part] for name, tensor in batch.items()}
        trained, evaluated = program.gradients(lane, own, now, zero)["loss"], program.evaluate(lane, own, now)["loss"]
        return trained.item(), evaluated.item()

    whole, first, second = (losses(part) for part in (slice(0, 4), slice(0, 2), slice(2, 4)))
    assert whole[0] == pytest.approx((first[0] + second[0]) / 2, rel=1e-12)
    assert whole[1] == pytest.approx(whole[0], rel=1e-12)


def test_held_out_data_are_there_where_they_are_evaluated(workload):
    """The same at every look; a classifier's measures beside the loss, for every batch of the same size."""
    batches = held_out_of(workload)
    assert bool(batches) == (workload.eval_every is not None)
    assert not differ(batches, held_out_of(workload))
    program, lane = program_of(workload), started(workload)
    for batch in batches:
        found = program.evaluate(lane, batch, torch.tensor(0))
        assert found.keys() == {"loss", "accuracy", "calibration_gap_K"}
        assert 0 <= found["accuracy"] <= 1


def test_evaluation_under_vmap_equals_a_loop(workload):
    program = program_of(workload)
    seeds, batch, now = torch.tensor([0, 1]), batch_at(workload, 0), torch.tensor(0)
    lanes = torch.func.vmap(program.start)(seeds, torch.ones(2, dtype=torch.float64))
    together = torch.func.vmap(program.evaluate, in_dims=(0, None, None))(lanes, batch, now)
    for index in range(2):
        alone = program.evaluate(pytree.tree_map(lambda t, index=index: t[index], lanes), batch, now)
        torch.testing.assert_close({n: t[index] for n, t in together.items()}, alone, rtol=1e-12, atol=1e-14)


def test_the_digest_is_that_of_data_or_empty(workload):
    assert re.fullmatch(r"([0-9a-f]{64})?", workload.data_digest())
    assert bool(workload.data_digest()) == (workload.eval_every is not None)


def test_initial_weights_depend_on_the_seed(workload):
    """All but biases and the gains of norms, which start alike."""
    starts = [program_of(workload).start(torch.tensor(seed), torch.tensor(1.0))["params"] for seed in (0, 1, 2**32)]
    for name in starts[0]:
        num_starts = 1 if name.endswith((".bias", ".gain")) else 3
        assert len({tuple(start[name].flatten().tolist()) for start in starts}) == num_starts


def test_every_weight_has_a_gradient(workload):
    """All but biases of keys: softmax does not feel what it adds to a whole row."""
    seen = program_of(workload).gradients(started(workload), batch_at(workload, 0), torch.tensor(0), torch.tensor(0))
    still = {name for name, grad in seen["grads"].items() if not grad.any()}
    assert {name for name in still if not name.endswith(".key.bias")} == set()


def test_source_and_title_are_stated(workload):
    assert workload.source != Workload.source
    assert workload.title
    assert type(workload).__doc__
