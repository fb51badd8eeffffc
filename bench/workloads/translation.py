"""Translation: an encoder-decoder predicts the next token of a target, given its source and the tokens before it.

Losses are means over tokens, however ragged the targets of a batch are: a batch carries the weight of each token.
Shapes: T steps, S seeds, B batch, W tokens of a source, U of a target with its end, E batches of held-out pairs, V
vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le, Lt

from bench.data.pairs.number_words import MAX_DIGITS
from bench.lazy import torch
from bench.methods.base import Method
from bench.models.attention import Mode, Tensors
from bench.models.encoder_decoder import EncoderDecoder, encoder_decoder
from bench.models.sequences import greedy, token_losses, token_measures
from bench.workloads.base import AttentionLayer, Forward
from bench.workloads.file_pairs import FilePairs
from bench.workloads.number_pairs import NumberPairs
from bench.workloads.sentence_pairs import END, PADDING, START, Pairs, in_batches, started, token_weights
from bench.workloads.transformer_workload import TransformerWorkload
from bench.workloads.translation_scores import SCORES, corpus_scores, signatures

if TYPE_CHECKING:
    from torch import Tensor

NUMBERS = "numbers"  # pairs that are made, without a file
NUM_HELD_OUT_NUMBERS = 512
CrossNormPlacement = Literal["pre", "post", "peri", "deepnorm", "deepnorm_torchscale", "admin", "none"]


@dataclass(frozen=True, kw_only=True)
class Translation(TransformerWorkload):
    """Cross entropy of the next target token in nats, mean over all target tokens of a batch, their ends included.

    data: "numbers" (number words from English to German, by characters, made at each step: no download), or a folder
    that `bench data prepare --target` made. digits: numbers have at most so many. max_tokens: pairs of a folder with a
    longer side are left out, held-out ones too; None: none are. held_out_pairs: at most so many are evaluated, None:
    512 numbers, or all of a folder. model: a preset of bench.models.encoder_decoder, whose settings others of the same
    names replace; depth: layers of the encoder, and of the decoder. layer_dropout: rate at which whole blocks are left
    out in training. label_smoothing: share of the probability that the objective spreads over the vocabulary; losses
    and measures are without, and without z_loss, times the mean of log(sum exp)^2. generates: after the last update
    held-out sources are translated greedily, to at most as many tokens as the longest target has, and scored by BLEU
    and chrF (the extra `translation`), of which BLEU says little of number words. num_micro_batches: parts of the batch
    computed one after the other.
    """

    title = "translation"
    source = "Vaswani et al. 2017"
    sources = ("vaswani2017attention",)
    measures = ("val_loss", "val_accuracy", "val_exact_match")
    paths = ("data",)
    built_in = (NUMBERS,)

    data: str = NUMBERS
    digits: Annotated[int, Ge(4), Le(MAX_DIGITS)] = MAX_DIGITS
    max_tokens: Annotated[int, Ge(1)] | None = None
    held_out_pairs: Annotated[int, Ge(1)] | None = None
    model: Literal["vaswani_1m", "vaswani_6m", "vaswani_base"] = "vaswani_1m"
    batch_size: Annotated[int, Ge(1)] = 64
    norm_placement: CrossNormPlacement | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    positions: Literal["sinusoidal", "learned", "rotary", "none"] | None = None
    ties_embeddings: bool | None = None
    layer_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    z_loss: Annotated[float, Ge(0)] = 0.0
    generates: bool = False
    norm_eps: Annotated[float, Ge(0)] = 1e-5
    num_micro_batches: Annotated[int, Ge(1)] = 1  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        if self.batch_size % self.num_micro_batches:
            got = f"{self.batch_size} and {self.num_micro_batches}"
            raise ValueError(f"batch_size must be a multiple of num_micro_batches, got {got}")
        self._model(vocabulary_size=4, source_tokens=2, target_tokens=2)

    @property
    def pairs(self) -> Pairs:
        """The data."""
        if self.data == NUMBERS:
            return NumberPairs(digits=self.digits, num_held_out=self.held_out_pairs or NUM_HELD_OUT_NUMBERS)
        return FilePairs(folder=self.data, max_tokens=self.max_tokens, num_held_out=self.held_out_pairs)

    @property
    def network(self) -> EncoderDecoder:  # pyright: ignore[reportIncompatibleMethodOverride]
        pairs = self.pairs
        return self._model(
            vocabulary_size=pairs.vocabulary_size,
            source_tokens=pairs.source_tokens,
            target_tokens=pairs.target_tokens,
        )

    def data_digest(self) -> str:
        if self.generates:
            signatures()  # is sacrebleu here?
        return self.pairs.digest()

    def data_facts(self) -> dict[str, Any]:
        """sacrebleu's signatures, where translations are scored, and how many pairs `max_tokens` leaves out."""
        left_out = (
            {}
            if self.data == NUMBERS
            else FilePairs(folder=self.data, max_tokens=self.max_tokens, num_held_out=None).num_left_out()
        )
        return (signatures() if self.generates else {}) | left_out

    def batches(self, seeds_S: Tensor, steps_T: Tensor) -> Tensors:
        """{"source": (T, S, B, W), "target": (T, S, B, U), both int64, "weights": (T, S, B, U) float32}."""
        source, target = self.pairs.train(seeds_S, steps_T, self.batch_size)
        return {"source": source, "target": target, "weights": token_weights(target, num_dims=2)}

    def held_out(self, device: torch.device) -> Tensors:
        """As `batches`, (E, B, ...); the last batch is filled with pairs of no weight."""
        source, target = in_batches(self.pairs.held_out(device), self.batch_size)
        return {"source": source, "target": target, "weights": token_weights(target, num_dims=3)}

    def loss(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Forward:
        logits_BUV, targets_BU, watched = self._forward(method, params, buffers, batch, mode)
        losses = token_losses(logits_BUV, targets_BU, batch["weights"])
        objective = (1 - self.label_smoothing) * losses.loss + self.label_smoothing * losses.uniform
        return Forward(loss=losses.loss, objective=objective + self.z_loss * losses.z, watched=watched)

    def evaluate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensors:
        logits_BUV, targets_BU, _ = self._forward(method, params, buffers, batch, mode)
        return token_measures(logits_BUV, targets_BU, batch["weights"])

    def held_out_measures(self, means: Tensors) -> Tensors:
        return {
            "val_loss": means["loss"],
            "val_accuracy": means["accuracy"],
            "val_exact_match": means["exact"] / means["sequences"],
        }

    @property
    def at_end(self) -> tuple[str, ...]:
        return SCORES if self.generates else ()

    def generate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensor:
        """Greedy translations (B, U), up to and with their ends."""
        network, source_BW = self.network, batch["source"]
        is_source_BW, dropout = source_BW != PADDING, self.drop(buffers, mode)
        with self.autocast(source_BW):
            memory_BWC, _ = network.encode(method, params, buffers, source_BW, is_source_BW, mode, dropout)

            def logits_of(target_BU: Tensor, place: int) -> Tensor:
                memory = (memory_BWC, is_source_BW)
                h_BUC, _ = network.decode(method, params, buffers, target_BU, None, memory, mode, dropout)
                return network.logits(method, params, buffers, h_BUC[:, place])

            num_tokens = batch["target"].shape[1]
            return greedy(logits_of, source_BW[:, 0], num_tokens=num_tokens, start=START, end=END, padding=PADDING)

    def generated_measures(self, generated_EB: Tensor) -> dict[str, float]:
        pairs = self.pairs
        references = [pairs.text(row) for row in pairs.held_out(torch.device("cpu"))[1].tolist()]
        translations = [pairs.text(row) for row in generated_EB.flatten(0, 1)[: len(references)].tolist()]
        return corpus_scores(translations, references)

    @property
    def attention_layers(self) -> tuple[AttentionLayer, ...]:
        encoder, decoder = self.network.encoder, self.network.decoder
        num_sources, num_targets = encoder.num_tokens, decoder.num_tokens
        return (
            *(AttentionLayer(layer, encoder.heads, "padded", num_sources) for layer in encoder.layers),
            *(AttentionLayer(layer, decoder.heads, "causal", num_targets) for layer in decoder.layers),
            *(
                AttentionLayer(layer, decoder.cross_heads, "padded", num_targets, is_cross=True)
                for layer in decoder.cross_layers
            ),
        )

    def _forward(
        self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        network, source_BW, target_BU = self.network, batch["source"], batch["target"]
        is_source_BW, is_target_BU = source_BW != PADDING, target_BU != PADDING
        dropout = self.drop(buffers, mode)
        with self.autocast(source_BW):
            memory_BWC, of_encoder = network.encode(method, params, buffers, source_BW, is_source_BW, mode, dropout)
            memory, read_BU = (memory_BWC, is_source_BW), started(target_BU)
            h_BUC, of_decoder = network.decode(method, params, buffers, read_BU, is_target_BU, memory, mode, dropout)
            logits_BUV = network.logits(method, params, buffers, h_BUC)
        return logits_BUV, target_BU, [*of_encoder, *of_decoder]

    def _model(self, *, vocabulary_size: int, source_tokens: int, target_tokens: int) -> EncoderDecoder:
        return encoder_decoder(
            self.model,
            vocabulary_size=vocabulary_size,
            source_tokens=source_tokens,
            target_tokens=target_tokens,
            norm_eps=self.norm_eps,
            layer_dropout=self.layer_dropout,
            positions=self.positions,
            ties_embeddings=self.ties_embeddings,
            **self.overrides,
        )
