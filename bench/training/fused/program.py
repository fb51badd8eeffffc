"""Which trainings the C program of this room knows, and how its sources are told what to train.

The same sources are compiled for a processor and for a GPU. What a method, an optimizer or a workload is to them stands
in the macros that they are compiled with; a kind that is not in the dicts here trains as any other does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.kernel import EluKernel, KernelAttention, ReluKernel, SigmoidKernel
from bench.methods.linear import Linear, PlainLinear, SigmaReparam, SpectralNorm, WeightNorm
from bench.methods.qk_layernorm import QKLayerNormFixed, QKLayerNormFree, QKLayerNormWeightClipped
from bench.methods.qk_norm import QKNorm
from bench.methods.sigma_reparam import SigmaReparamAll, SigmaReparamQK
from bench.methods.sigmoid_attention import SigmoidAttention
from bench.methods.soft_capping import SoftCapping
from bench.methods.softmax import Softmax, WindowSoftmax
from bench.methods.softmax_control import SoftmaxControl
from bench.methods.softmax_one import SoftmaxOne
from bench.methods.spectral_norm import SpectralNormAll, SpectralNormQK
from bench.methods.weight_norm import WeightNormAll, WeightNormQK
from bench.optimizers.adam import Adam, AdamW, AdamWIndependent
from bench.optimizers.decay import Decaying
from bench.optimizers.layers import ALL
from bench.optimizers.sgd import SGD, SGDMomentum, SGDNesterov
from bench.randomness import stream_id
from bench.training.lane import CLIP_EPS, LaneProgram
from bench.workloads.in_context_regression import InContextRegression

if TYPE_CHECKING:
    from torch import Tensor

SOURCES = ("vectors", "data", "rows", "heads", "weights", "optimizers", "lane", "step")  # each reads those before it
MAX_TOKENS = 32  # a row of P is kept while its query is computed
MIN_DIMENSION = 2  # a token has room for what the gradients of its row need
MAX_WIDTH = 8
# Of queries and keys that meet in all steps of a training: fewer do not repay the second that compiling takes.
MIN_PAIRS = 2**20
ROLES = ("query", "key", "value")

Macros = dict[str, int | float | str]

# By exact class, as a subclass may do anything: what a method adds to the macros of plain softmax.
METHOD_MACROS: Mapping[type[Method], Callable[[Any], Macros]] = {
    Softmax: lambda method: {},
    SoftmaxControl: lambda method: {"ROW": "ROW_SOFTMAX_CONTROL"},
    SoftmaxOne: lambda method: {"ROW": "ROW_SOFTMAX_ONE"},
    SoftCapping: lambda method: {"ROW": "ROW_CAPPED", "CAP": method.cap},
    SigmoidAttention: lambda method: {"ROW": "ROW_SIGMOID"},
    WindowSoftmax: lambda method: {"HAS_WINDOW": 1, "WINDOW": method.width},
    ReluKernel: lambda method: _kernel(method, "FEATURES_RELU"),
    EluKernel: lambda method: _kernel(method, "FEATURES_ELU"),
    SigmoidKernel: lambda method: _kernel(method, "FEATURES_SIGMOID"),
    QKLayerNormFixed: lambda method: {"NORMALIZATION": "NORMALIZATION_LAYERNORM"},
    QKLayerNormFree: lambda method: {"NORMALIZATION": "NORMALIZATION_LAYERNORM_GAMMA"},
    QKLayerNormWeightClipped: lambda method: {"NORMALIZATION": "NORMALIZATION_LAYERNORM_GAMMA"},
    QKNorm: lambda method: {"NORMALIZATION": "NORMALIZATION_LENGTH"},
    SigmaReparamAll: lambda method: {},
    SigmaReparamQK: lambda method: {},
    SpectralNormAll: lambda method: {},
    SpectralNormQK: lambda method: {},
    WeightNormAll: lambda method: {},
    WeightNormQK: lambda method: {},
}

# The macro of a parametrisation, what it trains beside the weight, and the buffers that it keeps.
LINEARS: Mapping[type[Linear], tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    PlainLinear: ("LINEAR_PLAIN", (), ()),
    SpectralNorm: ("LINEAR_SPECTRAL", (), ("left", "right")),
    SigmaReparam: ("LINEAR_SIGMA", ("gamma",), ("left", "right")),
    WeightNorm: ("LINEAR_WEIGHT_NORM", ("gain",), ()),
}

# The macro of an optimizer and its moments, in their order.
OPTIMIZERS: Mapping[type[Any], tuple[str, tuple[str, ...]]] = {
    SGD: ("OPTIMIZER_SGD", ()),
    SGDMomentum: ("OPTIMIZER_MOMENTUM", ("momentum",)),
    SGDNesterov: ("OPTIMIZER_NESTEROV", ("momentum",)),
    Adam: ("OPTIMIZER_ADAM", ("first", "second")),
    AdamW: ("OPTIMIZER_ADAMW", ("first", "second")),
    AdamWIndependent: ("OPTIMIZER_ADAMW_INDEPENDENT", ("first", "second")),
}


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The order in which the C program has tensors of a lane, by their names in which `*` stands for every layer.

    params: name and numbers of a layer. buffers: names. moments: of every parameter, by their short names.
    """

    params: dict[str, int]
    buffers: tuple[str, ...]
    moments: tuple[str, ...]


def trains(program: LaneProgram) -> bool:
    """Whether the C program knows this training, and is worth compiling for it.

    It follows from the trial alone, so that a trial trains alike in any company.
    """
    workload = program.workload
    return (
        type(workload) is InContextRegression
        and workload.embedding != "learned"
        and not workload.merged_query_key
        and workload.num_keys <= MAX_TOKENS
        and workload.dimension >= MIN_DIMENSION
        and workload.model.width <= MAX_WIDTH
        and type(program.method) in METHOD_MACROS
        and type(program.optimizer) in OPTIMIZERS
        and not program.optimizer.rates
        and not program.interventions
        and not program.is_reference
        and workload.num_steps * workload.batch_size * workload.depth * workload.num_keys**2 >= MIN_PAIRS
    )


def packed(program: LaneProgram) -> Packed:
    """The order of a lane's tensors, which is that of the macros' offsets."""
    width = _workload(program).model.width
    _, gains, buffers = LINEARS[type(program.method.linear("query"))]
    own = program.method.init_params(program.workload.attention[0])
    params = {f"layers.{ALL}.{role}.weight": width * width for role in ROLES}
    params |= {
        f"layers.{ALL}.{role}.{name}": 1 if name == "gamma" else width
        for name in gains
        for role in _linear_roles(program.method)
    }
    params |= {f"layers.{ALL}.method.{name}": tensor.numel() for name, tensor in own.items()}
    return Packed(
        params=params,
        buffers=tuple(f"layers.{ALL}.{role}.{name}" for name in buffers for role in _linear_roles(program.method)),
        moments=OPTIMIZERS[type(program.optimizer)][1],
    )


def source() -> str:
    """All C of this room, one file after the other."""
    return "\n".join(Path(__file__).with_name(f"{name}.c").read_text(encoding="utf-8") for name in SOURCES)


def macros(program: LaneProgram) -> Macros:
    """What the sources are compiled with, but for what belongs to a device: PRECISION, SLOTS, CHUNKS and so on."""
    method, workload, order = program.method, _workload(program), packed(program)
    width, depth = workload.model.width, workload.depth
    linear = LINEARS[type(method.linear("query"))]
    of_weights, of_linear = 3 * depth * width * width, len(_linear_roles(method)) * depth
    num_gains_of_linear = sum(depth * size for name, size in order.params.items() if name.endswith(linear[1]))
    num_params = depth * sum(order.params.values())
    softmax: Macros = {"ROW": "ROW_SOFTMAX", "HAS_WINDOW": 0, "WINDOW": 0, "CAP": 1.0, "EPS": 0.0}
    softmax |= {"NORMALIZATION": "NORMALIZATION_NONE", "FEATURES": "FEATURES_NONE"}
    return {
        **softmax,
        **METHOD_MACROS[type(method)](method),
        **_of_workload(workload),
        "LOGIT_SCALE": method.logit_scale(workload.logit_scale),
        "LINEAR": linear[0],
        "LINEAR_ROLES": len(_linear_roles(method)),
        "OPTIMIZER": OPTIMIZERS[type(program.optimizer)][0],
        "CLIP_EPS": CLIP_EPS,
        "NUM_PARAMS": num_params,
        "NUM_MOMENTS": len(order.moments),
        "NUM_BUFFERS": 2 * of_linear * width if linear[2] else 0,
        "WEIGHTS": 0,
        "GAINS_OF_LINEAR": of_weights,
        "GAINS": of_weights + num_gains_of_linear,
        "NUM_GAINS": num_params - of_weights - num_gains_of_linear,
        "LEFTS": 0,
        "RIGHTS": of_linear * width,
    }


def decays(program: LaneProgram) -> list[bool]:
    """Whether weight decay acts on each parameter, in the packed order."""
    optimizer, shapes = program.optimizer, packed(program).params
    assert isinstance(optimizer, Decaying)
    return [
        does_decay
        for name, size in shapes.items()
        for does_decay in [optimizer.does_decay(name, _of_one_layer(name, program))] * (size * _workload(program).depth)
    ]


def limits(program: LaneProgram) -> list[float]:
    """The most that the magnitude of each parameter may be after an update, in the packed order."""
    method = program.method
    max_gain = method.max_gamma if isinstance(method, QKLayerNormWeightClipped) else math.inf
    return [
        max_gain if ".method." in name else math.inf
        for name, size in packed(program).params.items()
        for _ in range(size * _workload(program).depth)
    ]


def _workload(program: LaneProgram) -> InContextRegression:
    assert isinstance(program.workload, InContextRegression)
    return program.workload


def _of_workload(workload: InContextRegression) -> Macros:
    passes_through = workload.embedding == "pass_through"
    hides_query = passes_through and not workload.query_is_key
    model = workload.model
    return {
        "BATCH": workload.batch_size,
        "DIMENSION": workload.dimension,
        "WIDTH": model.width,
        "CHANNELS": workload.dimension + 1,
        "NUM_TOKENS": workload.num_keys,
        "LOG_NUM_TOKENS": math.log(workload.num_keys),
        "NUM_KEYS": workload.num_pairs if hides_query else workload.num_keys,
        "NUM_VALUES": workload.num_pairs if workload.query_is_key else workload.num_keys,
        "DEPTH": workload.depth,
        "HAS_RESIDUAL": int(workload.residual),
        "VALUE_SCALE": model.value_scale,
        "PREDICTION_SIGN": -1 if passes_through else 1,
        "STREAM_X": f"{stream_id('data.x')}u",
        "STREAM_W": f"{stream_id('data.w')}u",
    }


def _kernel(method: KernelAttention, features: str) -> Macros:
    return {"ROW": "ROW_KERNEL", "FEATURES": features, "EPS": method.eps}


def _linear_roles(method: Method) -> tuple[str, ...]:
    """The first of ROLES whose weights have a parametrisation."""
    return tuple(role for role in ROLES if type(method.linear(role)) is not PlainLinear)


def _of_one_layer(name: str, program: LaneProgram) -> Tensor:
    """A tensor as one layer of one lane has it."""
    width = _workload(program).model.width
    last = name.rpartition(".")[2]
    if last == "weight":
        return torch.empty(width, width)
    return torch.empty(()) if last == "gamma" else torch.empty(width)
