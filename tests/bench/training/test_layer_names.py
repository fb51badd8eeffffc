"""What trains asks the model which tensors are whose layer's: a model whose layers have other names trains alike."""

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.qk_clip import QKClip
from bench.methods.qk_layernorm import QKLayerNormWeightClipped
from bench.methods.sigma_reparam import SigmaReparamQK
from bench.optimizers.layers import layers_of
from bench.optimizers.muon import Muon
from bench.optimizers.schedule_free import ScheduleFreeAdamW
from bench.probes import build_probes
from bench.probes.gains import gains
from bench.training.lane import LaneProgram
from bench.training.model_view import scales_of
from bench.workloads.in_context_regression import InContextRegression
from tests.trials import SMALL, trial

KNOBS = {"lr": 0.1, "warmup_steps": 0.0, "weight_decay": 0.1, "grad_clip": 1.0}
OTHER_NAMES = {"layers.0.": "encoder.0.", "layers.1.": "decoder.0.", "layers.2.": "decoder.1."}
SEED = torch.tensor(0)
PROBES = build_probes(None)


def renamed(tensors, names):
    """Tensors with other prefixes."""
    prefixes = {name: next((prefix for prefix in names if name.startswith(prefix)), "") for name in tensors}
    return {names.get(p, "") + name.removeprefix(p): tensors[name] for name, p in prefixes.items()}


def plainly(tensors):
    return renamed(tensors, {other: plain for plain, other in OTHER_NAMES.items()})


@dataclass(frozen=True, kw_only=True)
class EncoderDecoder(InContextRegression):
    """The model of in-context regression, an encoder of one layer and a decoder of two."""

    @property
    def layers(self):
        return (*layers_of("encoder", 1), *layers_of("decoder", 2))

    def init(self, method, draw, init_scale):
        return tuple(renamed(tensors, OTHER_NAMES) for tensors in super().init(method, draw, init_scale))

    def refresh(self, method, params, buffers):
        return renamed(super().refresh(method, plainly(params), plainly(buffers)), OTHER_NAMES)

    def loss(self, method, params, buffers, batch, mode):
        return super().loss(method, plainly(params), plainly(buffers), batch, mode)


def after_three_steps(workload, method, optimizer):
    """The program, its lane and the losses, in float64."""
    program = dataclasses.replace(LaneProgram.of(trial()), workload=workload, method=method, optimizer=optimizer)
    knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in KNOBS.items()}
    lane, losses = program.start(SEED, torch.tensor(3.0, dtype=torch.float64)), []
    for step in range(3):
        batches = workload.batches(SEED[None], torch.tensor([step]))
        batch = {name: tensor[0, 0].double() for name, tensor in batches.items()}
        lane, loss, _ = program.train(lane, batch, knobs, torch.tensor(step))
        losses.append(loss)
    return program, lane, losses


@pytest.mark.parametrize("optimizer", [Muon(), ScheduleFreeAdamW()])
@pytest.mark.parametrize("method", [QKLayerNormWeightClipped(max_gamma=0.9), QKClip(tau=0.01), SigmaReparamQK()])
def test_other_names_of_layers_train_alike(method, optimizer):
    """Updates of matrices, limits by layer, averaged weights: all find the tensors that are theirs."""
    size = SMALL | {"depth": 3}
    _, plain, losses = after_three_steps(InContextRegression(**size), method, optimizer)
    program, other, other_losses = after_three_steps(EncoderDecoder(**size), method, optimizer)
    assert {name.split(".")[0] for name in other["params"]} == {"encoder", "decoder"}
    torch.testing.assert_close(other_losses, losses, rtol=1e-10, atol=0)
    for part in ("params", "buffers"):
        torch.testing.assert_close(plainly(other[part]), plain[part], rtol=1e-9, atol=1e-12)
    now = torch.tensor(3)
    batch = {n: t[0, 0].double() for n, t in program.workload.batches(SEED[None], now[None]).items()}
    of_plain = dataclasses.replace(program, workload=InContextRegression(**size)).observe(
        plain, batch, now, probes=PROBES
    )
    torch.testing.assert_close(program.observe(other, batch, now, probes=PROBES), of_plain, rtol=1e-8, atol=1e-10)


def test_scales_are_those_of_the_layer():
    size = SMALL | {"depth": 3}
    method = QKLayerNormWeightClipped(max_gamma=0.9)
    plain_program, plain, _ = after_three_steps(InContextRegression(**size), method, Muon())
    program, other, _ = after_three_steps(EncoderDecoder(**size), method, Muon())
    counters = {"step": torch.tensor(3)}
    of_layers = [
        [gains(scales_of(method, lane["params"], lane["buffers"] | counters, layer)) for layer in one.workload.layers]
        for one, lane in ((plain_program, plain), (program, other))
    ]
    assert of_layers[0] == [pytest.approx(expected, rel=1e-9) for expected in of_layers[1]]
    assert len({layer["spectral_norm_query"] for layer in of_layers[0]}) == 3


class MadeOnTheHost(TorchDispatchMode):
    """The operations within it whose results lie on the CPU."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.names += [str(func) for tensor in tree_leaves(made) if tensor.device.type == "cpu"]
        return made


@pytest.mark.parametrize("name", METHODS)
def test_gammas_are_made_where_the_weights_are(name):
    """Nothing on the host: a copy from there is refused while a CUDA graph is captured."""
    program = dataclasses.replace(LaneProgram.of(trial()), method=load_class(METHODS[name])())
    lane = program.start(SEED, torch.tensor(1.0))
    params, buffers = ({key: value.to("meta") for key, value in lane[part].items()} for part in ("params", "buffers"))
    buffers["step"] = torch.tensor(3, device="meta")
    with MadeOnTheHost() as made:
        scales_of(program.method, params, buffers, program.workload.layers[0])
    assert not made.names
