"""What every workload keeps to: WORKLOAD_PROPERTIES, by what they say."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch.utils import _pytree as pytree

from bench.held_out import HELD_OUT
from bench.lazy import torch
from bench.methods.base import Heads, State
from bench.methods.mask import Mask
from bench.methods.qk_layernorm import QKLayerNormFree
from bench.methods.softmax import Softmax
from bench.probes import build_probes
from bench.probes.base import measured_by
from bench.testing.basics import WORKLOAD_BASICS
from bench.testing.properties import Property, is_finite, require, require_close
from bench.testing.variants import differ, ignored_parameters, untried_parameters
from bench.testing.workload_steps import batch_at, held_out_of, program_of, started, training_of
from bench.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor

# What training reads from the workload, or what only saves memory or names data.
ELSEWHERE = ("final_loss_steps", "num_micro_batches", "checkpointing")


def batches_depend_on_seed_and_step_alone(workload: Workload) -> str:
    """Batches of a seed and step are the same whatever others are asked for."""
    seeds, steps = torch.tensor([5, 1, 2**40, 7]), torch.tensor([0, 1, 63, 64, 100_000])
    together = workload.batches(seeds, steps)
    for s, seed in enumerate(seeds):
        for t, step in enumerate(steps):
            own = {name: tensor[0, 0] for name, tensor in workload.batches(seed[None], step[None]).items()}
            of_all = {name: tensor[t, s] for name, tensor in together.items()}
            what = f"the batch of seed {int(seed)} at step {int(step)}, alone and among others"
            require_close(own, of_all, what, rtol=1e-5, atol=1e-6)
    return f"{len(seeds)} seeds at {len(steps)} steps"


def batches_differ_by_seed_and_by_step(workload: Workload) -> str:
    """Each tensor of a batch is another one for each seed and step."""
    for name, tensor in workload.batches(torch.arange(3), torch.arange(4)).items():
        distinct = {tuple(batch.flatten().tolist()) for batch in tensor.flatten(0, 1)}
        require(len(distinct) == 12, f"{name} has {len(distinct)} distinct batches of 3 seeds at 4 steps, required 12")
    return "12 of 12"


def held_out_data_are_others(workload: Workload) -> str:
    """Held-out data are the same at every look, there if `eval_every` says so, and no batch of training."""
    batches = held_out_of(workload)
    are_there = workload.eval_every is not None
    require(bool(batches) == are_there, f"{len(batches)} held-out batches, though eval_every is {workload.eval_every}")
    require(not differ(batches, held_out_of(workload)), "held-out data differ from one look to the next")
    trained = [batch_at(workload, step) for step in range(3)]
    require(all(differ(one, other) for one in batches for other in trained), "a held-out batch is one of training")
    return f"{len(batches)} batches"


def measures_are_declared_and_bounded(workload: Workload) -> str:
    """Of means over held-out batches, for every lane."""
    program, lane, words = program_of(workload), started(workload), "no held-out data"
    for batch in held_out_of(workload):
        means = {name: torch.stack([mean, mean]) for name, mean in program.evaluate(lane, batch, zero()).items()}
        measured = workload.held_out_measures(means)
        given, named = ", ".join(sorted(measured)), ", ".join(sorted(workload.measures))
        require(given == named, f"held_out_measures gives {given}; `measures` names {named}")
        for name, value_L in measured.items():
            require(value_L.shape == (2,), f"{name} has shape {tuple(value_L.shape)} for two lanes")
            low, high = HELD_OUT[name].low, HELD_OUT[name].high
            require(bool(low <= value_L[0] <= high), f"{name} is {value_L[0].item():.4g}, not in [{low}, {high}]")
        words = ", ".join(f"{name} {value_L[0].item():.4g}" for name, value_L in measured.items())
    return words


def tensors_of_layers_are_alike(workload: Workload) -> str:
    """Layers have names of their own, one for each of `num_layers`; those of a stack have tensors of the same names and
    shapes."""
    program = replace(program_of(workload), method=QKLayerNormFree())
    layers = workload.layers
    counts = f"{len(layers)} layers, {len(set(layers))} of them distinct; num_layers is {workload.num_layers}"
    require(len(layers) == workload.num_layers == len(set(layers)), counts)
    params = program.start(torch.tensor(0), torch.ones(()))["params"]
    by_layer = [
        {name.removeprefix(layer.prefix): p.shape for name, p in params.items() if name.startswith(layer.prefix)}
        for layer in layers
    ]
    first = {layer.stack: by_layer[index] for index, layer in reversed(list(enumerate(layers)))}
    pairs = zip(layers, by_layer, strict=True)
    require(
        all(of_layer == first[layer.stack] for layer, of_layer in pairs), "layers of one stack have different tensors"
    )
    for of_layer in first.values():
        missing = {"query.weight", "key.weight", "value.weight", "method.gamma_q"} - of_layer.keys()
        require(not missing, f"a layer has no {', '.join(sorted(missing))}; build it with bench.models")
    prefixes = tuple(layer.prefix for layer in layers)
    others = [name for name in params if re.search(r"\.\d+\.", name) and not name.startswith(prefixes)]
    require(not others, f"of no layer of `layers`: {', '.join(others)}")
    return f"{len(layers)} layers of {len(by_layer[0])} tensors"


@dataclass(frozen=True, kw_only=True)
class Recording(Softmax):
    """Softmax that notes the queries' shapes and the masks that it gets."""

    shapes: list = dataclasses.field(default_factory=list)
    masks: list = dataclasses.field(default_factory=list)

    def restrict(self, mask: Mask) -> Mask:
        self.masks.append(mask)
        return super().restrict(mask)

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        self.shapes.append((q_BHQD.shape[1], q_BHQD.shape[3], k_BHKD.shape[2]))
        return super().weights(q_BHQD, k_BHKD, mask_B1QK, state)


def attention_is_as_stated(workload: Workload) -> str:
    """Every layer is observed; no row has more keys than `num_keys`, some row as many."""
    method, probes = Recording(), build_probes(None)
    program = replace(program_of(workload), method=method)
    observed = program.observe(started(workload), batch_at(workload, 0), zero(), probes=probes)
    shape = (len(measured_by(probes)), workload.num_layers)
    require(tuple(observed.shape) == shape, f"observed {tuple(observed.shape)}, required (quantities, layers) {shape}")
    require(
        bool(method.shapes), "the method that `loss` gets is not asked for weights; pass it on to the layers", "loss"
    )
    most = max(max(one.heads.num_keys, one.num_queries) for one in workload.attention_layers)
    keys = f"num_keys is {workload.num_keys}; the longest sequence of attention has {most} tokens"
    require(workload.num_keys == most, keys, "num_keys")
    stated = {_shape_of(one.heads) for one in workload.attention_layers}
    seen = ", ".join(map(str, sorted(set(method.shapes))))
    require(set(method.shapes) == stated, f"attention of heads, width, keys {seen}; stated {sorted(stated)}")
    kinds = {one.kind for one in workload.attention_layers}
    require({mask.kind for mask in method.masks} == kinds, f"`attention_layers` state masks {', '.join(sorted(kinds))}")
    for mask in method.masks:
        most = int(mask.allowed_B1QK.sum(dim=-1).max())  # of padding, less: a batch may have no example of full length
        required = most <= mask.num_keys if mask.kind == "padded" else most == mask.num_keys
        require(required, f"a row of a {mask.kind} mask has at most {most} keys of {mask.num_keys}")
    return "; ".join(f"{num_heads} heads of width {width}, {keys} keys" for num_heads, width, keys in sorted(stated))


def _shape_of(heads: Heads) -> tuple[int, int, int]:
    return heads.num_heads, heads.width, heads.num_keys


def loss_is_a_finite_mean(workload: Workload) -> str:
    """At the start, over a batch as over its two halves, and equal to what is evaluated without dropout.

    Not over halves where the loss of an example is of the others, too; such a batch is in one part.
    """
    program, lane = program_of(workload), started(workload)
    whole = batch_at(workload, 0)
    size = len(next(iter(whole.values()))) // 2 * 2

    def losses(part: slice) -> tuple[Tensor, Tensor]:
        own = {name: tensor[part] for name, tensor in whole.items()}
        return program.gradients(lane, own, zero(), zero())["loss"], program.evaluate(lane, own, zero())["loss"]

    loss, evaluated = losses(slice(0, size))
    require(loss.shape == () and is_finite(loss), f"the loss at the start is {loss}, required a finite scalar")
    num_parts = workload.num_micro_batches
    if workload.couples_examples:
        require(num_parts == 1, f"{num_parts} parts of a batch whose examples are compared with each other; required 1")
    elif size:
        halves = [losses(slice(start, start + size // 2))[1] for start in (0, size // 2)]
        what = "the loss of a batch and the mean of its halves"
        require_close(evaluated, (halves[0] + halves[1]) / 2, what, rtol=1e-11, atol=0)
    if not getattr(workload, "dropout", 0):
        require_close(evaluated, loss, "the loss as trained and as evaluated", rtol=1e-11, atol=0)
    return f"{loss.item():.4g} at the start"


def evaluation_of_lanes_equals_a_loop(workload: Workload) -> str:
    """Two seeds together and one by one."""
    program, batch, evidence = program_of(workload), batch_at(workload, 0), ""
    lanes = torch.func.vmap(program.start)(torch.tensor([0, 1]), torch.ones(2, dtype=torch.float64))
    together = torch.func.vmap(program.evaluate, in_dims=(0, None, None))(lanes, batch, zero())
    for index in range(2):
        alone = program.evaluate(pytree.tree_map(lambda t, index=index: t[index], lanes), batch, zero())
        own = {name: tensor[index] for name, tensor in together.items()}
        evidence = require_close(own, alone, "lanes together and one by one", rtol=1e-12, atol=1e-14)
    return evidence


def the_digest_is_that_of_data_or_empty(workload: Workload) -> str:
    """A SHA-256 in hex, the same at every look; empty where data are generated."""
    digest = workload.data_digest()
    require(re.fullmatch(r"([0-9a-f]{64})?", digest) is not None, f"{digest!r} is no SHA-256 in hex and not empty")
    require(digest == workload.data_digest(), "differs from one look to the next")
    return f"{digest[:12]}..." if digest else "data are generated"


def initial_weights_depend_on_the_seed(workload: Workload) -> str:
    """All but biases and the gains of norms, which start alike; `init_scale` changes some of them."""
    program = program_of(workload)
    one, other = (program.start(torch.tensor(0), torch.tensor(scale))["params"] for scale in (1.0, 0.5))
    require(differ(one, other), "init_scale changes nothing; multiply initial weights by it")
    starts = [program.start(torch.tensor(seed), torch.tensor(1.0))["params"] for seed in (0, 1, 2**32)]
    drawn = [name for name in starts[0] if not name.endswith((".bias", ".gain"))]
    alike = [name for name in drawn if len({tuple(start[name].flatten().tolist()) for start in starts}) < 3]
    require(not alike, f"the same for several seeds: {', '.join(alike)}; name it .bias or .gain if it should be")
    return f"{len(drawn)} tensors"


def every_weight_has_a_gradient(workload: Workload) -> str:
    """All but biases of keys: softmax does not feel what it adds to a whole row."""
    lane, batch = started(workload), batch_at(workload, 0)
    grads = program_of(workload).gradients(lane, batch, zero(), zero())["grads"]
    still = [name for name, grad in grads.items() if not grad.any() and not name.endswith(".key.bias")]
    require(not still, f"no gradient reaches {', '.join(still)}")
    require(is_finite(grads), "a gradient is not finite")
    return f"{len(grads)} tensors"


def every_parameter_changes_training(workload: Workload) -> str:
    """For each declared parameter some other value changes three steps or what is evaluated after them."""
    ignored = ignored_parameters(workload, training_of, left_out=ELSEWHERE)
    require(not ignored, f"no other value of {', '.join(sorted(ignored))} changes training")
    untried = untried_parameters(workload) - set(ELSEWHERE)
    return f"not tried: {', '.join(sorted(untried))}" if untried else "all that are declared"


def zero() -> Tensor:
    """A step or part of a batch, the first."""
    return torch.tensor(0)


WORKLOAD_PROPERTIES: dict[str, Property] = {
    **WORKLOAD_BASICS,
    "the loss is a finite mean": Property(of="loss", check=loss_is_a_finite_mean, is_basic=True),
    "evaluation of lanes equals a loop": Property(of="evaluate", check=evaluation_of_lanes_equals_a_loop),
    "batches depend on seed and step alone": Property(of="batches", check=batches_depend_on_seed_and_step_alone),
    "batches differ by seed and by step": Property(of="batches", check=batches_differ_by_seed_and_by_step),
    "held-out data are others, the same at every look": Property(of="held_out", check=held_out_data_are_others),
    "measures are declared and bounded": Property(of="held_out_measures", check=measures_are_declared_and_bounded),
    "tensors of layers are alike": Property(of="init", check=tensors_of_layers_are_alike),
    "attention is as stated": Property(of="attention", check=attention_is_as_stated),
    "the digest is that of data, or empty": Property(of="data_digest", check=the_digest_is_that_of_data_or_empty),
    "initial weights depend on the seed": Property(of="init", check=initial_weights_depend_on_the_seed),
    "every weight has a gradient": Property(of="loss", check=every_weight_has_a_gradient),
}
# Training once for each parameter: of a large workload this takes long.
PARAMETERS_OF_A_WORKLOAD: dict[str, Property] = {
    "every parameter changes training": Property(of="", check=every_parameter_changes_training)
}
