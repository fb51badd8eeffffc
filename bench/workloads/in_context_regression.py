"""In-context linear regression: read pairs (x_i, w . x_i), predict w . x of a query.

x_i, w ~ N(0, I_D); every step sees fresh sequences, unless `num_batches` is set. Shapes: B batch, T = num_pairs + 1
tokens, D dimension, C channels.
Source: Hong & Lee 2025, Sec. 4.2 and App. C.2: D = 3, N = 20, 5 layers of attention only, SGD, no clipping. They do not
state the number of steps, the batch, the initial scale, residual connections or how y enters; after Ahn et al. 2024 the
tokens are (x_i, y_i) with the query's y set to 0, with residual connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt

from bench.lazy import torch
from bench.methods.base import Heads, Method
from bench.methods.linear import Draw
from bench.methods.mask import Mask, MaskKind
from bench.models.attention import Mode, Tensors
from bench.models.attention_only import AttentionOnly
from bench.models.limits import limit_projections
from bench.optimizers.layers import Layer
from bench.randomness import normal
from bench.workloads.base import Forward, Workload

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class InContextRegression(Workload):
    """Squared error of the query's prediction, mean over the batch.

    embedding says how (x, y) enters and how the prediction leaves:
        tokens        the token is (x, y), D + 1 channels, all projected; the prediction is the query's last channel
        learned       a learned linear map lifts (x, y) to `width` channels, another reads the prediction off the query
                      (a vector, which decays under `decays: all` alone)
        pass_through  projections see x alone; y passes through every layer with weight 1, the query is no key for
                      itself or others, the prediction is minus the query's last channel (Ahn et al. 2024)
    width is the number of channels of `learned`; the other two take it from the dimension.
    divide_by_keys divides what attention adds by the number of pairs (also in Ahn et al.'s code). query_is_key, of
    `pass_through`: the query is a key as well, and its value is 0 (in their code: rows are normalised over all tokens).
    merged_query_key: a token is its own key, one matrix for both (theirs too).
    num_batches: after so many steps the batches come again in their order, 1: full-batch training; None: never.
    initial_gain: weights start as N(0, (init_scale initial_gain)^2 / inputs). 0.1 makes the untrained model predict
    about 0, so the loss at the start, where scores clip, is that of knowing nothing (D); 1 starts at twice that.
    """

    title = "in-context linear regression"
    source = "Hong & Lee 2025, Sec. 4.2 and App. C.2; Ahn et al. 2024"
    sources = ("hong2025variance", "ahn2024linear")

    batch_size: Annotated[int, Ge(1)] = 128
    dimension: Annotated[int, Ge(1)] = 3
    num_pairs: Annotated[int, Ge(1)] = 20
    depth: Annotated[int, Ge(1)] = 5
    embedding: Literal["tokens", "learned", "pass_through"] = "tokens"
    width: Annotated[int, Ge(1)] = 16
    residual: bool = True
    logit_scale: Annotated[float, Gt(0)] = 1.0
    divide_by_keys: bool = False
    query_is_key: bool = False
    merged_query_key: bool = False
    num_batches: Annotated[int, Ge(1)] | None = None
    initial_gain: Annotated[float, Gt(0)] = 0.1

    def __post_init__(self) -> None:
        if self.query_is_key and self.embedding != "pass_through":
            raise ValueError(f"query_is_key needs embedding pass_through, got {self.embedding}: there it is one")

    @property
    def num_layers(self) -> int:
        return self.depth

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.model.layers

    @property
    def num_keys(self) -> int:
        return self.num_pairs + 1

    @property
    def attention(self) -> tuple[Heads, MaskKind]:
        hides_query = self.embedding == "pass_through" and not self.query_is_key
        return self.model.heads, "custom" if hides_query else "full"

    @property
    def model(self) -> AttentionOnly:
        widths = {"tokens": self.dimension + 1, "learned": self.width, "pass_through": self.dimension}
        return AttentionOnly(
            num_layers=self.depth,
            num_tokens=self.num_pairs + 1,
            width=widths[self.embedding],
            residual=self.residual,
            logit_scale=self.logit_scale,
            value_scale=1 / self.num_pairs if self.divide_by_keys else 1.0,
            initial_gain=self.initial_gain,
            merges_query_and_key=self.merged_query_key,
        )

    def batches(self, seeds_S: Tensor, steps_T: Tensor) -> Tensors:
        """{"x": (T, S, B, num_pairs + 1, D), "w": (T, S, B, D)}."""
        step_T1 = (steps_T if self.num_batches is None else steps_T % self.num_batches)[:, None]
        tokens = (self.batch_size, self.num_pairs + 1, self.dimension)
        return {
            "x": normal(seeds_S, "data.x", step_T1, tokens),
            "w": normal(seeds_S, "data.w", step_T1, (self.batch_size, self.dimension)),
        }

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        params, buffers = self.model.init(method, draw, init_scale)
        if self.embedding == "learned":
            channels, gain = self.dimension + 1, init_scale * self.initial_gain
            params["embed"] = draw("embed", (channels, self.width)) * (gain / channels**0.5)
            params["readout"] = draw("readout", (self.width,)) * (gain / self.width**0.5)
        return params, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        return self.model.refresh(method, params, buffers)

    def loss(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Forward:
        y_BT = (batch["x"] @ batch["w"][..., None])[..., 0]
        target_B = y_BT[:, -1]
        is_pair_T = torch.arange(self.num_pairs + 1, device=y_BT.device) < self.num_pairs
        h_BTC = torch.cat([batch["x"], (y_BT * is_pair_T)[..., None]], dim=-1)
        kind = self.attention[1]
        keys_T = is_pair_T if kind == "custom" else torch.ones_like(is_pair_T)
        mask = Mask.shared(keys_T.expand(self.num_pairs + 1, -1), kind)
        if self.embedding == "learned":
            h_BTC = h_BTC @ params["embed"]
        has_value_T = is_pair_T if self.query_is_key else None
        h_BTC, watched = self.model.forward(method, params, buffers, h_BTC, mask, mode, has_value_T)
        if self.embedding == "learned":
            prediction_B = h_BTC[:, -1] @ params["readout"]
        else:
            prediction_B = h_BTC[:, -1, -1] * (-1 if self.embedding == "pass_through" else 1)
        loss = (prediction_B - target_B).square().mean()
        return Forward(loss=loss, objective=loss, watched=watched)

    def limit(self, method: Method, params: Tensors, max_logits: list[Tensor], step: Tensor) -> Tensors:
        return limit_projections(method, params, self.layers, max_logits, step)
