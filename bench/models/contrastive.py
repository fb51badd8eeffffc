"""Models that learn from two views of an image: an encoder, a projector, and a predictor where there is one.

Shapes: V views (2), B images, C channels of the encoder, P of what is compared, H of hidden layers. Further parameters:
`readout.{projector,predictor}_{in,hidden,out}.*` and `readout.norm_...`. Normalisation is over the batch at hand, as in
training: nothing is measured with a projector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.linear import Draw
from bench.models.attention import Mode, Tensors, part
from bench.models.dropout import Dropout
from bench.models.projections import Projection, init_projections, project, refresh_projections
from bench.models.transformer import Transformer
from bench.models.vit import VisionEncoder

if TYPE_CHECKING:
    from torch import Tensor

NORM_EPS = 1e-5  # torch.nn.BatchNorm1d's
PROJECTOR, PREDICTOR = ("projector_in", "projector_hidden", "projector_out"), ("predictor_in", "predictor_out")


@dataclass(frozen=True, kw_only=True)
class Contrastive:
    """An encoder, three layers of a projector to `projection_width`, and two of a predictor if `has_predictor`.

    A hidden layer has `projector_width` channels, then batch normalisation and ReLU; the last has batch normalisation
    without gain and bias. No layer has a bias. normalises_views_apart: each view of the batch by its own statistics,
    not both together. Source: Chen et al. 2021, _build_mlp of their code, whose widths are 4,096 and 256.
    """

    encoder: VisionEncoder
    projector_width: int
    projection_width: int
    has_predictor: bool
    normalises_views_apart: bool

    @property
    def transformer(self) -> Transformer:
        return self.encoder.transformer

    @property
    def layers(self) -> dict[str, Projection]:
        """The layers of projector and predictor by their names, in the order in which they are computed."""
        hidden, out = self.projector_width, self.projection_width
        widths = dict(zip(PROJECTOR, ((self.transformer.width, hidden), (hidden, hidden), (hidden, out)), strict=True))
        if self.has_predictor:
            widths |= dict(zip(PREDICTOR, ((out, hidden), (hidden, out)), strict=True))
        return {
            name: Projection(
                prefix=f"readout.{name}.",
                role="readout",
                num_inputs=inputs,
                num_outputs=outputs,
                std=self.transformer.std(inputs),
            )
            for name, (inputs, outputs) in widths.items()
        }

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers."""
        params, buffers = self.encoder.init(method, draw, init_scale)
        extra = init_projections(method, self.layers.values(), draw, init_scale)
        params |= extra[0]
        for name in (name for name in self.layers if not name.endswith("_out")):
            gain_H = torch.ones(self.projector_width, dtype=init_scale.dtype, device=init_scale.device)
            params |= {_norm_of(name) + "gain": gain_H, _norm_of(name) + "bias": torch.zeros_like(gain_H)}
        return params, buffers | extra[1]

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        buffers = self.encoder.refresh(method, params, buffers)
        return refresh_projections(method, self.layers.values(), params, buffers)

    def features(
        self, method: Method, params: Tensors, buffers: Tensors, images_BYXI: Tensor, mode: Mode, dropout: Dropout
    ) -> tuple[Tensor, list[Tensor]]:
        """What the encoder makes of images (B, C), and what the mode watches of every layer."""
        return self.encoder.pooled(method, params, buffers, images_BYXI, mode, dropout)

    def projected(
        self, method: Method, params: Tensors, buffers: Tensors, views_VBYXI: Tensor, mode: Mode, dropout: Dropout
    ) -> tuple[Tensor, list[Tensor]]:
        """What the projector makes of views (V, B, P), in one pass; and what the mode watches of every layer."""
        num_views = len(views_VBYXI)
        pooled_BC, watched = self.features(method, params, buffers, views_VBYXI.flatten(0, 1), mode, dropout)
        return self._through(method, params, buffers, pooled_BC.unflatten(0, (num_views, -1)), PROJECTOR), watched

    def predicted(self, method: Method, params: Tensors, buffers: Tensors, z_VBP: Tensor) -> Tensor:
        """What the predictor makes of projections (V, B, P)."""
        return self._through(method, params, buffers, z_VBP, PREDICTOR)

    def _through(
        self, method: Method, params: Tensors, buffers: Tensors, x_VBC: Tensor, names: tuple[str, ...]
    ) -> Tensor:
        """What a stack of layers makes of views, in float32."""
        for name in names:
            x_VBC = project(method, params, buffers, self.layers[name], x_VBC)
            x_VBC = self._normalised(x_VBC.to(torch.promote_types(x_VBC.dtype, torch.float32)))
            if not name.endswith("_out"):
                norm = part(params, _norm_of(name))
                x_VBC = (x_VBC * norm["gain"] + norm["bias"]).relu()
        return x_VBC

    def _normalised(self, x_VBC: Tensor) -> Tensor:
        over = (1,) if self.normalises_views_apart else (0, 1)
        centred_VBC = x_VBC - x_VBC.mean(dim=over, keepdim=True)
        return centred_VBC * (centred_VBC.square().mean(dim=over, keepdim=True) + NORM_EPS).rsqrt()


def _norm_of(name: str) -> str:
    return f"readout.norm_{name}."


def nt_xent(z_VBP: Tensor, *, temperature: float) -> Tensor:
    """Mean cross entropy in nats of finding an image's other view by cosine among the 2 B - 1 other views.

    log(2 B - 1) where nothing is known. Source: Chen et al. 2020, Eq. 1.
    """
    num_images = z_VBP.shape[1]
    z_NP = torch.nn.functional.normalize(z_VBP, dim=-1).flatten(0, 1)
    logits_NN = z_NP @ z_NP.mT / temperature
    is_self_NN = torch.eye(2 * num_images, dtype=torch.bool, device=z_NP.device)
    positive_N = (z_NP * z_NP.roll(num_images, dims=0)).sum(dim=-1) / temperature
    return (logits_NN.masked_fill(is_self_NN, -torch.inf).logsumexp(dim=-1) - positive_N).mean()


def info_nce(q_BP: Tensor, k_BP: Tensor, *, temperature: float) -> Tensor:
    """Mean cross entropy in nats of finding each q's own k by cosine among all B; log B where nothing is known.

    Source: van den Oord et al. 2018, Eq. 4; Chen et al. 2021, Alg. 1.
    """
    q_BP, k_BP = (torch.nn.functional.normalize(x_BP, dim=-1) for x_BP in (q_BP, k_BP))
    logits_BB = q_BP @ k_BP.mT / temperature
    return (logits_BB.logsumexp(dim=-1) - logits_BB.diagonal(dim1=-2, dim2=-1)).mean()
