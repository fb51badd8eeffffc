"""Language modelling: predict the next token of a text.

Each step draws windows of the training tokens at random, with replacement, as a function of (seed, step). Shapes: T
steps, S seeds, B batch, N context, E batches of held-out windows, V vocabulary.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Lt

from bench.data.corpus import Corpus, corpus_facts, open_corpus
from bench.errors import UsageError
from bench.lazy import torch
from bench.methods.base import Heads, MaskKind, Method
from bench.methods.linear import Draw
from bench.models.attention import Mode, Tensors
from bench.models.classify import cross_entropy, measures
from bench.models.decoder import PRESETS, Decoder, decoder
from bench.models.transformer import limit_projections
from bench.randomness import Dropout, integers
from bench.workloads.base import Forward, Workload

if TYPE_CHECKING:
    from torch import Tensor

MAX_ON_DEVICE = 2**30  # bytes of a corpus that is copied to the device whole; of a larger one, windows are
MAX_WINDOWS = 2**31 - 1  # starts that the random numbers reach; the rest of a longer corpus is not read


@dataclass(frozen=True, kw_only=True)
class LanguageModeling(Workload):
    """Cross entropy of the next token in nats, mean over the batch.

    corpus: "python" (the source of Python's standard library: no download), a text file, a folder of them, or a folder
    that `bench data prepare` made. tokenizer: bytes, characters, or gpt2 (the extra `text`). model: a preset of
    bench.models.decoder; the settings after it replace the preset's where given. vocabulary_size: at least the
    corpus's, such as 50304 for a size that matrix units like. num_micro_batches: parts of the batch computed one
    after the other. checkpointing: activations are computed again in the backward pass. precision: bfloat16 is
    autocast with float32 weights. Held out: the end of the corpus; `eval_batches` batches of windows spread evenly
    over it, every `eval_every_steps` and at the end. Attention is observed on the first `probe_examples` of a batch.
    """

    source = "GPT-2: Radford et al. 2019; Llama: Touvron et al. 2023; small sizes: Wortsman et al. 2023"

    corpus: str = "python"
    tokenizer: Literal["bytes", "characters", "gpt2"] = "bytes"
    model: Literal["gpt_1m", "gpt_10m", "gpt2_124m", "wortsman_2m", "wortsman_10m", "llama_1m", "llama_1b"] = "gpt_1m"
    context: Annotated[int, Ge(2)] = 256
    batch_size: Annotated[int, Ge(1)] = 16
    depth: Annotated[int, Ge(1)] | None = None
    width: Annotated[int, Ge(2)] | None = None
    num_heads: Annotated[int, Ge(1)] | None = None
    mlp: Literal["gelu", "swiglu"] | None = None
    mlp_width: Annotated[int, Ge(1)] | None = None
    norm: Literal["layer", "rms"] | None = None
    norm_placement: Literal["pre", "post", "none"] | None = None
    positions: Literal["learned", "rotary", "none"] | None = None
    has_biases: bool | None = None
    ties_embeddings: bool | None = None
    initialisation: Literal["gpt2", "fan_in"] | None = None
    vocabulary_size: Annotated[int, Ge(2)] | None = None
    norm_eps: Annotated[float, Ge(0)] = 1e-5
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    z_loss: Annotated[float, Ge(0)] = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    num_micro_batches: Annotated[int, Ge(1)] = 1  # pyright: ignore[reportIncompatibleMethodOverride]
    checkpointing: bool = False
    eval_every_steps: Annotated[int, Ge(1)] = 200
    eval_batches: Annotated[int, Ge(1)] = 4
    probe_examples: Annotated[int, Ge(1)] = 8

    def __post_init__(self) -> None:
        if self.batch_size % self.num_micro_batches:
            got = f"{self.batch_size} and {self.num_micro_batches}"
            raise ValueError(f"batch_size must be a multiple of num_micro_batches, got {got}")
        self._decoder(self.vocabulary_size or 2)

    @property
    def num_layers(self) -> int:
        return self.depth or PRESETS[self.model]["num_layers"]

    @property
    def num_keys(self) -> int:
        return self.context

    @property
    def attention(self) -> tuple[Heads, MaskKind]:
        return self._decoder(self.vocabulary_size or 2).transformer.heads, "causal"

    @property
    def max_lanes(self) -> int | None:
        return 1 if self.checkpointing else None  # what is computed again can't be batched by vmap

    @property
    def eval_every(self) -> int | None:
        return self.eval_every_steps

    @property
    def decoder(self) -> Decoder:
        return self._decoder(self.vocabulary_size or self._corpus().vocabulary_size)

    def data_digest(self) -> str:
        corpus = corpus_facts(self.corpus, tokenizer=self.tokenizer)
        if self.vocabulary_size is not None and self.vocabulary_size < corpus.vocabulary_size:
            raise UsageError(
                f"vocabulary_size must be at least the corpus's {corpus.vocabulary_size}, got {self.vocabulary_size}"
            )
        for split, num_tokens in (("training", corpus.num_train), ("held-out", corpus.num_val)):
            if num_tokens <= self.context:
                raise UsageError(
                    f"context {self.context} is too long for the {split} part of corpus {self.corpus!r}, "
                    f"{num_tokens} tokens; take a shorter context or a longer text"
                )
        return corpus.digest

    def batches(self, seeds_S: Tensor, steps_T: Tensor) -> Tensors:
        """{"tokens": (T, S, B, N + 1)}, int64."""
        tokens = self._corpus().train
        num_starts = min(len(tokens) - self.context, MAX_WINDOWS)
        start_TSB = integers(seeds_S, "data.windows", steps_T[:, None], (self.batch_size,), num_starts)
        return {"tokens": self._windows("train", start_TSB)}

    def held_out(self, device: torch.device) -> Tensors:
        """{"tokens": (E, B, N + 1)}, int64."""
        import numpy

        last = len(self._corpus().val) - self.context - 1
        starts = numpy.linspace(0, last, self.eval_batches * self.batch_size).astype(numpy.int64)
        start_EB = torch.from_numpy(starts).to(device).reshape(self.eval_batches, self.batch_size)
        return {"tokens": self._windows("val", start_EB)}

    def probe_batch(self, batch: Tensors) -> Tensors:
        return {name: tensor[: self.probe_examples] for name, tensor in batch.items()}

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        return self.decoder.init(method, draw, init_scale)

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        return self.decoder.refresh(method, params, buffers)

    def loss(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Forward:
        logits_BNV, watched = self._forward(method, params, buffers, batch, mode)
        loss, log_total_squared = cross_entropy(logits_BNV, batch["tokens"][:, 1:])
        objective = loss + self.z_loss * log_total_squared if self.z_loss else loss
        return Forward(loss=loss, objective=objective, watched=watched)

    def evaluate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensors:
        return measures(self._forward(method, params, buffers, batch, mode)[0], batch["tokens"][:, 1:])

    def limit(self, method: Method, params: Tensors, max_logits: list[Tensor]) -> Tensors:
        return limit_projections(method, params, max_logits)

    def _forward(
        self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode
    ) -> tuple[Tensor, list[Tensor]]:
        tokens_BN = batch["tokens"][:, :-1]
        seed = buffers["seed"] if mode.is_training else None
        dropout = Dropout(rate=self.dropout, seed=seed, step=buffers["draw"])
        is_mixed = self.precision == "bfloat16"
        with torch.autocast(tokens_BN.device.type, dtype=torch.bfloat16, enabled=is_mixed, cache_enabled=False):
            return self.decoder.forward(method, params, buffers, tokens_BN, mode, dropout)

    def _decoder(self, vocabulary_size: int) -> Decoder:
        return decoder(
            self.model,
            vocabulary_size=vocabulary_size,
            num_tokens=self.context,
            norm_eps=self.norm_eps,
            dropout=self.dropout,
            checkpointing=self.checkpointing,
            num_layers=self.depth,
            width=self.width,
            num_heads=self.num_heads,
            mlp=self.mlp,
            mlp_width=self.mlp_width,
            norm=self.norm,
            norm_placement=self.norm_placement,
            positions=self.positions,
            has_biases=self.has_biases,
            ties_embeddings=self.ties_embeddings,
            initialisation=self.initialisation,
        )

    def _corpus(self) -> Corpus:
        return _open(self.corpus, self.tokenizer)

    def _windows(self, split: Literal["train", "val"], start: Tensor) -> Tensor:
        """(...) starts -> (..., N + 1) tokens."""
        import numpy

        tokens = getattr(self._corpus(), split)
        index = start[..., None] + torch.arange(self.context + 1, device=start.device)
        if tokens.nbytes <= MAX_ON_DEVICE:
            return _on_device(self.corpus, self.tokenizer, split, str(start.device))[index].long()
        gathered = tokens[index.cpu().numpy()].astype(numpy.int64)
        return torch.from_numpy(gathered).to(start.device)


@functools.cache
def _open(corpus: str, tokenizer: str) -> Corpus:
    return open_corpus(corpus, tokenizer=tokenizer)


@functools.cache
def _on_device(corpus: str, tokenizer: str, split: str, device: str) -> Tensor:
    import numpy

    tokens = getattr(_open(corpus, tokenizer), split)
    kind = numpy.uint8 if tokens.dtype == numpy.uint8 else numpy.int32
    return torch.from_numpy(numpy.array(tokens, dtype=kind)).to(device)  # a copy: the map is read-only
