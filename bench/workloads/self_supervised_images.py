"""Self-supervised learning of images: a vision transformer learns to tell which two views are of one image.

Each step takes the next images of an epoch's order and two views of each, all as a function of (seed, step).
Shapes: T steps, S seeds, B batch, Y rows, X columns, I channels of an image, V views (2), P projected, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from bench.data.images.labelled import IMAGES
from bench.data.images.pixels import opened
from bench.data.images.viewed import ViewedImages, Views
from bench.errors import UsageError
from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.linear import Draw
from bench.models.attention import Mode, Tensors, part
from bench.models.contrastive import PREDICTOR, Contrastive, info_nce, nt_xent
from bench.models.dropout import Dropout
from bench.models.representations import effective_rank, inverse, neighbours_accuracy, probe_accuracy
from bench.models.vit import PRESETS, Pool, vision_encoder
from bench.workloads.base import Forward
from bench.workloads.transformer_workload import TransformerWorkload

if TYPE_CHECKING:
    from torch import Tensor

MOMENTUM = "momentum."  # the averaged model is among the buffers, under this and the names of its tensors
EVALUATED_AT_ONCE = 512  # images: fewer than a step's forward and backward pass holds


@dataclass(frozen=True, kw_only=True)
class SelfSupervisedImages(TransformerWorkload):
    """Cross entropy in nats of finding the other view of an image among those of a batch, by cosine / temperature.

    objective: simclr (each of the 2 B views among the 2 B - 1 others; Chen et al. 2020, Eq. 1) or moco_v3 (what a
    predictor makes of a view among B projections by an average of the model, each step `momentum` of itself and the
    rest of the model, both ways; Chen et al. 2021, Alg. 1; 4 temperature times the loss is differentiated, as in their
    code). Projector and predictor are those of Chen et al. 2021, batch normalisation included, for both.
    images: "digits" (1,797 of 8 x 8), "mnist_5000" (28 x 28, the extra `images`), or the folder of CIFAR-10 or STL-10,
    of whose unlabelled images it learns. Images come without replacement, epoch after epoch. views: moves (rotation up
    to rotation_degrees, scale up to max_scale, shift up to max_shift of the side, each to both sides) or crops (at
    least min_area of the area, mirrored as often as not, recoloured by jitter). model: a preset of bench.models.vit,
    whose settings others of the same names replace. frozen_patches: the projection of patches is not trained.
    Held out: the loss of as many held-out images as a batch has; and what the encoder's output says of the classes of
    `num_queries` held-out images by a bank of `bank_size` training images, at even distances, all of them moved once
    where views are moves. `data_facts` has what raw pixels say.
    """

    title = "self-supervised learning of images"
    source = "SimCLR: Chen et al. 2020; MoCo v3: Chen et al. 2021; ViT: Dosovitskiy et al. 2021"
    sources = ("chen2020simple", "chen2021empirical", "dosovitskiy2021image")
    measures = ("val_loss", "val_knn_accuracy", "val_probe_accuracy", "val_effective_rank")
    paths = ("images",)
    built_in = tuple(IMAGES)
    couples_examples = True
    refused: ClassVar = {"num_micro_batches": "an image is compared with all others of its batch, which has one part"}

    objective: Literal["simclr", "moco_v3"] = "simclr"
    images: str = "digits"
    views: Views = "moves"
    model: Literal["vit_digits", "vit_tiny"] = "vit_digits"
    batch_size: Annotated[int, Ge(2)] = 128
    temperature: Annotated[float, Gt(0)] = 0.2
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.99
    projector_width: Annotated[int, Ge(1)] = 256
    projection_width: Annotated[int, Ge(1)] = 64
    rotation_degrees: Annotated[float, Ge(0), Le(180)] = 30.0
    max_scale: Annotated[float, Ge(1)] = 1.3
    max_shift: Annotated[float, Ge(0), Le(1)] = 0.12
    min_area: Annotated[float, Gt(0), Le(1)] = 0.2
    jitter: Annotated[float, Ge(0), Le(1)] = 0.4
    positions: Literal["learned", "sincos_2d", "none"] | None = None
    patch: Annotated[int, Ge(1)] | None = None
    frozen_patches: bool = False
    pool: Pool = "class_token"
    norm_eps: Annotated[float, Ge(0)] = 1e-6  # as in the code of ViT's authors
    bank_size: Annotated[int, Ge(2)] = 2000
    num_queries: Annotated[int, Ge(2)] = 1000
    probe_examples: Annotated[int, Ge(2)] = 16

    def __post_init__(self) -> None:
        patch = PRESETS[self.model]["patch"] if self.patch is None else self.patch
        self._network((patch, patch, 1))

    @property
    def network(self) -> Contrastive:
        num_rows, num_columns, num_channels = opened(self.images).train_images.shape[1:]
        return self._network((num_rows, num_columns, num_channels))

    def data_digest(self) -> str:
        try:
            self.network  # noqa: B018  (does the patch fit the images?)
        except ValueError as error:
            raise UsageError(f"images {self.images!r}: {error}") from error
        num_images = self._viewed.count(self._viewed.learned)
        if self.batch_size > num_images:
            raise UsageError(
                f"images {self.images!r}: batch_size must be at most the {num_images:,} images that there are to learn "
                f"from, got {self.batch_size}"
            )
        return opened(self.images).digest

    def data_facts(self) -> dict[str, Any]:
        """Numbers of images, and what their pixels say of classes: what measures are to be seen beside."""
        bank = {name: tensor[0] for name, tensor in self._bank(torch.device("cpu")).items()}
        rows = {name: bank[name].flatten(1) for name in ("bank", "queries")}
        return {
            "num_learned_from": self._viewed.count(self._viewed.learned),
            "num_bank": len(rows["bank"]),
            "num_queries": len(rows["queries"]),
            "raw_pixels": {
                name: round(measure.item(), 4)
                for name, measure in self._accuracies(bank | rows, invert=torch.linalg.inv).items()
            },
        }

    def batches(self, seeds_S: Tensor, steps_T: Tensor) -> Tensors:
        """{"first", "second": (T, S, B, Y, X, I) float32}: two views of every image."""
        return self._viewed.batches(seeds_S, steps_T, batch_size=self.batch_size)

    def held_out(self, device: torch.device) -> Tensors:
        """One batch: two views of held-out images, and bank and queries with their classes, (1, ...) each."""
        return self._viewed.held_out(device, num_pairs=self.batch_size) | self._bank(device)

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        params, buffers = self.network.init(method, draw, init_scale)
        if self.objective == "moco_v3":
            averaged = {name: p for name, p in params.items() if not name.startswith(_OF_PREDICTOR)}
            buffers |= {MOMENTUM + name: tensor for name, tensor in (buffers | averaged).items()}
        return params, buffers

    def adapted(
        self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode
    ) -> tuple[Tensors, Tensors]:
        params, buffers = super().adapted(method, params, buffers, batch, mode)
        averaged = part(buffers, MOMENTUM)  # starts as the model itself
        return params, buffers | {MOMENTUM + name: params[name] for name in averaged if name in params}

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        network, averaged = self.network, part(buffers, MOMENTUM)
        new = network.refresh(method, params, _without_average(buffers))
        if averaged:
            moved = {
                name: self.momentum * tensor + (1 - self.momentum) * params[name]
                for name, tensor in averaged.items()
                if name in params
            }
            kept = {name: tensor for name, tensor in averaged.items() if name not in params}
            kept = dataclasses.replace(network, has_predictor=False).refresh(method, moved, kept)
            new |= {MOMENTUM + name: tensor for name, tensor in (moved | kept).items()}
        return {name: new[name] for name in buffers}  # lanes are written in place, in their order

    def loss(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Forward:
        views_VBYXI, own = torch.stack([batch["first"], batch["second"]]), _without_average(buffers)
        with self.autocast(views_VBYXI):
            dropout = self.drop(buffers, mode)
            z_VBP, watched = self.network.projected(method, params, own, views_VBYXI, mode, dropout)
        if self.objective == "simclr":
            loss = nt_xent(z_VBP, temperature=self.temperature)
            return Forward(loss=loss, objective=loss, watched=watched)
        with self.autocast(views_VBYXI):
            q_VBP = self.network.predicted(method, params, own, z_VBP)
            k_VBP = self._by_average(method, params, buffers, views_VBYXI, mode)
        pairs = zip(q_VBP, k_VBP.flip(0), strict=True)
        loss = torch.stack([info_nce(q_BP, k_BP, temperature=self.temperature) for q_BP, k_BP in pairs]).mean()
        return Forward(loss=loss, objective=4 * self.temperature * loss, watched=watched)

    def evaluate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensors:
        """Of two views of images the loss; of bank and queries what the encoder's output says of their classes, too."""
        means = {"loss": self.loss(method, params, buffers, batch, mode).loss}
        if "bank" not in batch:
            return means
        rows = {name: self._features(method, params, buffers, batch[name], mode) for name in ("bank", "queries")}
        return means | self._accuracies(batch | rows) | {"val_effective_rank": effective_rank(rows["queries"])}

    def held_out_measures(self, means: Tensors) -> Tensors:
        return {name: means["loss" if name == "val_loss" else name] for name in self.measures}

    @property
    def _viewed(self) -> ViewedImages:
        names = [field.name for field in dataclasses.fields(ViewedImages)]
        return ViewedImages(**{name: getattr(self, name) for name in names})

    def _bank(self, device: torch.device) -> Tensors:
        return self._viewed.bank(device, bank_size=self.bank_size, num_queries=self.num_queries)

    def _network(self, image_shape: tuple[int, int, int]) -> Contrastive:
        encoder = vision_encoder(
            self.model,
            image_shape=image_shape,
            patch=self.patch,
            pool=self.pool,
            norm_eps=self.norm_eps,
            positions=self.positions,
            frozen_patches=self.frozen_patches,
            **self.overrides,
        )
        return Contrastive(
            encoder=encoder,
            projector_width=self.projector_width,
            projection_width=self.projection_width,
            has_predictor=self.objective == "moco_v3",
            normalises_views_apart=self.objective == "moco_v3",  # simclr's code has both views in one batch
        )

    def _accuracies(self, of: Tensors, *, invert: Callable[[Tensor], Tensor] = inverse) -> Tensors:
        """Of queries by a bank, both (examples, channels), by names of bench.held_out."""
        rows = [of[name] for name in ("bank", "bank_labels", "queries", "queries_labels")]
        num_classes = opened(self.images).num_classes
        return {
            "val_knn_accuracy": neighbours_accuracy(*rows, num_classes=num_classes),
            "val_probe_accuracy": probe_accuracy(*rows, num_classes=num_classes, invert=invert),
        }

    def _features(self, method: Method, params: Tensors, buffers: Tensors, images: Tensor, mode: Mode) -> Tensor:
        """The encoder's output (images, C), nothing dropped out."""
        own = _without_average(buffers)
        with self.autocast(images):
            parts = [
                self.network.features(method, params, own, part_of_them, mode, Dropout())[0]
                for part_of_them in images.split(EVALUATED_AT_ONCE)
            ]
        return torch.cat(parts)

    def _by_average(self, method: Method, params: Tensors, buffers: Tensors, views: Tensor, mode: Mode) -> Tensor:
        """What the averaged model's projector makes of views (V, B, P); nothing is dropped out or watched."""
        averaged, own = part(buffers, MOMENTUM), _without_average(buffers)
        its_params = {name: tensor for name, tensor in averaged.items() if name in params}
        mode = Mode(is_reference=mode.is_reference)
        return self.network.projected(method, its_params, own | averaged, views, mode, Dropout())[0]


_OF_PREDICTOR = tuple(f"readout.{start}{name}." for name in PREDICTOR for start in ("", "norm_"))


def _without_average(buffers: Tensors) -> Tensors:
    return {name: tensor for name, tensor in buffers.items() if not name.startswith(MOMENTUM)}
