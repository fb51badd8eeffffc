"""What a workload is: data, model, loss and number of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from annotated_types import Ge

from bench.held_out import COMPUTED
from bench.methods.base import Heads, Method
from bench.methods.linear import Draw
from bench.methods.mask import MaskKind
from bench.models.attention import Mode, Tensors
from bench.optimizers.layers import Layer, layers_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class AttentionLayer(NamedTuple):
    """One layer of attention as a workload states it."""

    layer: Layer  # which tensors of the model are its own
    heads: Heads  # num_keys: the most that a sequence has
    kind: MaskKind
    num_queries: int  # the most that a sequence has
    is_cross: bool = False  # queries of one sequence, keys and values of another

    @property
    def name(self) -> str:
        """Such as encoder.3; traces have its place among the workload's `attention_layers`."""
        return self.layer.prefix.removesuffix(".")


def names_of_layers(workload: Workload) -> list[str]:
    """Names of the layers of attention in their order; none where they are of one stack and numbers are enough."""
    layers = workload.attention_layers
    return [one.name for one in layers] if len({one.layer.stack for one in layers}) > 1 else []


class Forward(NamedTuple):
    """What a batch gave."""

    loss: Tensor  # what traces and scores see
    objective: Tensor  # what is differentiated: the loss, and penalties if there are any
    watched: list[Tensor]  # what the mode watches, by layer of attention


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Subclass it, declare settings as fields, override what differs. All but the data are for one model.

    `buffers` hold what `init` gave and, while a step is computed, `step`, `seed` and `draw`: int64 scalars, the updates
    done, the trial's seed, and a counter of forward passes in training.
    """

    title: ClassVar[str] = ""  # what is learned, in the words of a paper
    source: ClassVar[str] = "not stated"
    sources: ClassVar[tuple[str, ...]] = ()  # BibTeX keys of analysis/references/sources.bib, if `source` names any
    measures: ClassVar[tuple[str, ...]] = ("val_loss",)  # of COMPUTED: what held-out data give, if there are any
    paths: ClassVar[tuple[str, ...]] = ()  # parameters that may be a path; in a suite file it stays below the folder
    built_in: ClassVar[tuple[str, ...]] = ()  # values of `paths` that name data without being a path
    refused: ClassVar[Mapping[str, str]] = {}  # parameters of others that it can't have, and why not
    couples_examples: ClassVar[bool] = False  # the loss of an example is of the others, too: no batch comes in parts

    def __init_subclass__(cls) -> None:
        """Raises ValueError for `measures` that are not in COMPUTED, or what is computed and named by halves."""
        super().__init_subclass__()
        if unknown := [name for name in cls.measures if name not in COMPUTED]:
            raise ValueError(f"{cls.__name__}.measures: {', '.join(unknown)} must be in bench.held_out.COMPUTED")
        if cls.held_out_measures is Workload.held_out_measures:  # the loss alone
            if others := [name for name in cls.measures if name != "val_loss"]:
                raise ValueError(
                    f"{cls.__name__} names {', '.join(others)}, and must have held_out_measures to compute it"
                )
            if cls.evaluate is not Workload.evaluate:
                raise ValueError(
                    f"{cls.__name__} has an evaluate, but no held_out_measures: only the loss would be kept of it; "
                    "name in `measures` what held_out_measures makes of it"
                )

    num_steps: Annotated[int, Ge(1)] = 10_000
    final_loss_steps: Annotated[int, Ge(1)] = 100  # the final loss is the mean over the last so many steps

    @property
    def revision(self) -> int:
        """Raised when what it trains changes: part of a trial's id, so results never mix."""
        return 0

    @property
    def attention_layers(self) -> tuple[AttentionLayer, ...]:
        """The layers of attention, in the order in which they are watched.

        Say these, and all of the following four follow; where all layers are alike, say `num_layers`, `num_keys` and
        `attention` instead.
        """
        if type(self).attention is Workload.attention:
            raise NotImplementedError
        heads, kind = self.attention
        alike = {"heads": heads, "kind": kind, "num_queries": heads.num_keys}
        return tuple(AttentionLayer(layer=layer, **alike) for layer in self.layers)

    @property
    def num_layers(self) -> int:
        """Layers of attention that are probed."""
        return len(self.attention_layers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of attention, in the order in which they are watched: which tensors of the model are whose."""
        if type(self).num_layers is not Workload.num_layers:
            return layers_of("layers", self.num_layers)
        return tuple(one.layer for one in self.attention_layers)

    @property
    def num_keys(self) -> int:
        """N, the tokens of a sequence: no row of attention has more keys, no matrix more rows; the bounds follow."""
        return max(max(one.heads.num_keys, one.num_queries) for one in self.attention_layers)

    @property
    def attention(self) -> tuple[Heads, MaskKind]:
        """The shape of the first layer's attention, and which keys the model allows."""
        first = self.attention_layers[0]
        return first.heads, first.kind

    @property
    def num_micro_batches(self) -> int:
        """Equal parts of a batch whose gradients are computed one after the other and averaged."""
        return 1

    @property
    def is_mixed(self) -> bool:
        """Whether matrix products are computed in bfloat16."""
        return False

    @property
    def max_lanes(self) -> int | None:
        """Most trials that may train as one pack; None: by the device."""
        return None

    @property
    def eval_every(self) -> int | None:
        """Steps between two evaluations on held-out data; None if there is none."""
        return None

    def data_digest(self) -> str:
        """SHA-256 of the data that training reads; "" if it is generated. Raises UsageError if it can't be read."""
        return ""

    def data_facts(self) -> dict[str, Any]:
        """What is worth knowing of the data beside results, as plain data; {} if nothing is. It stands in manifests."""
        return {}

    def batches(self, seeds_S: Tensor, steps_T: Tensor) -> Tensors:
        """Data of every step and seed on the device of `seeds_S`, each (T, S, B, ...); depends on nothing else."""
        raise NotImplementedError

    def held_out(self, device: torch.device) -> Tensors:
        """Held-out data in E batches, each tensor (E, B, ...); the same for every trial."""
        return {}

    def probe_batch(self, batch: Tensors) -> Tensors:
        """The part of a batch on which attention is observed."""
        return batch

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Trained parameters and untrained buffers before the first step."""
        raise NotImplementedError

    @property
    def adapts(self) -> bool:
        """Whether the start depends on data: `adapted` is asked for it."""
        return False

    def adapted(
        self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode
    ) -> tuple[Tensors, Tensors]:
        """What `init` gave, adapted to the batch of step 0, or to the first of its parts.

        buffers: those of `init` before `refresh`, and what a step has beside them.
        """
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        raise NotImplementedError

    def loss(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Forward:
        """Means over a batch."""
        raise NotImplementedError

    def evaluate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensors:
        """Means over a batch, averaged over batches: `loss`, and what `held_out_measures` reads beside it."""
        return {"loss": self.loss(method, params, buffers, batch, mode).loss}

    def held_out_measures(self, means: Tensors) -> Tensors:
        """Each of `measures`, (L,), from means over all held-out data of what `evaluate` gave, (L, ...)."""
        return {"val_loss": means["loss"]}

    @property
    def at_end(self) -> tuple[str, ...]:
        """Of bench.held_out.AT_END: what is measured once, after the last update, of what the models generate."""
        return ()

    def generate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensor:
        """What a trained model makes of a batch of held-out data, (B, ...), for `generated_measures`."""
        raise NotImplementedError

    def generated_measures(self, generated_EB: Tensor) -> dict[str, float]:
        """Each of `at_end` of what one model generated of all held-out data, (E, B, ...), on the CPU."""
        raise NotImplementedError

    def limit(self, method: Method, params: Tensors, max_logits: list[Tensor], step: Tensor) -> Tensors:
        """Params after the update of a step, for a method that reads the largest logits: (heads,) of each layer."""
        raise NotImplementedError
