"""Language modelling: predict the next token of a text.

Each step draws windows of the training tokens at random, with replacement, as a function of (seed, step). Shapes: T
steps, S seeds, B batch, N context, E batches of held-out windows, V vocabulary.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from bench.data.text.corpus import Corpus, corpus_facts, open_corpus
from bench.data.text.sources import BUILT_IN
from bench.errors import UsageError
from bench.lazy import torch
from bench.methods.base import Method
from bench.models.attention import Mode, Tensors
from bench.models.decoder import Decoder, decoder
from bench.randomness import integers
from bench.workloads.classifier import Classifier

if TYPE_CHECKING:
    from torch import Tensor

MAX_ON_DEVICE = 2**30  # bytes of a corpus that is copied to the device whole; of a larger one, windows are
MAX_WINDOWS = 2**31 - 1  # starts that the random numbers reach; the rest of a longer corpus is not read


@dataclass(frozen=True, kw_only=True)
class LanguageModeling(Classifier):
    """Cross entropy of the next token in nats, mean over the batch.

    corpus: "python" (the source of Python's standard library: no download), a text file, a folder of them, or a folder
    that `bench data prepare` made. tokenizer: bytes, characters, bpe or gpt2 (the extra `text`). model: a preset of
    bench.models.decoder, whose settings others of the same names replace. vocabulary_size: at least the corpus's, such
    as 50304, a size that matrix units like. num_micro_batches: parts of the batch computed one after the other.
    checkpointing: activations are computed again in the backward pass. Held out: the end of the corpus, `eval_batches`
    batches of windows spread evenly over it.
    """

    title = "language modelling"
    source = "GPT-2: Radford et al. 2019; Llama: Touvron et al. 2023; small sizes: Wortsman et al. 2023"
    sources = ("radford2019language", "touvron2023llama", "wortsman2024small")
    paths = ("corpus",)
    built_in = (BUILT_IN,)
    measures = (*Classifier.measures, "val_bits_per_byte")

    corpus: str = "python"
    tokenizer: Literal["bytes", "characters", "bpe", "gpt2"] = "bytes"
    model: Literal["gpt_1m", "gpt_10m", "gpt2_124m", "wortsman_2m", "wortsman_10m", "llama_1m", "llama_1b"] = "gpt_1m"
    context: Annotated[int, Ge(2)] = 256
    batch_size: Annotated[int, Ge(1)] = 16
    positions: Literal["learned", "rotary", "none"] | None = None
    ties_embeddings: bool | None = None
    vocabulary_size: Annotated[int, Ge(2)] | None = None
    norm_eps: Annotated[float, Ge(0)] = 1e-5
    num_micro_batches: Annotated[int, Ge(1)] = 1  # pyright: ignore[reportIncompatibleMethodOverride]
    checkpointing: bool = False
    eval_batches: Annotated[int, Ge(1)] = 4

    def __post_init__(self) -> None:
        if self.batch_size % self.num_micro_batches:
            got = f"{self.batch_size} and {self.num_micro_batches}"
            raise ValueError(f"batch_size must be a multiple of num_micro_batches, got {got}")
        self._decoder(self.vocabulary_size or 2)

    @property
    def max_lanes(self) -> int | None:
        return 1 if self.checkpointing else None  # what is computed again can't be batched by vmap

    @property
    def network(self) -> Decoder:
        return self._decoder(self.vocabulary_size or self._corpus().vocabulary_size)

    def example(self, batch: Tensors) -> tuple[Tensor, Tensor]:
        return batch["tokens"][:, :-1], batch["tokens"][:, 1:]

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
        """{"tokens": (E, B, N + 1) int64, "num_bytes": (E, B) float32, of a predicted token, the mean of a window}."""
        import numpy

        last = len(self._corpus().val) - self.context - 1
        starts = numpy.linspace(0, last, self.eval_batches * self.batch_size).astype(numpy.int64)
        start_EB = torch.from_numpy(starts).to(device).reshape(self.eval_batches, self.batch_size)
        tokens_EBN = self._windows("val", start_EB)
        num_bytes_V = torch.from_numpy(self._corpus().tokenizer.num_bytes()).to(device)
        return {"tokens": tokens_EBN, "num_bytes": num_bytes_V[tokens_EBN[..., 1:]].float().mean(dim=-1)}

    def evaluate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensors:
        means = super().evaluate(method, params, buffers, batch, mode)
        return means | ({"num_bytes": batch["num_bytes"].mean()} if "num_bytes" in batch else {})

    def held_out_measures(self, means: Tensors) -> Tensors:
        bits_per_byte = means["loss"] / (math.log(2) * means["num_bytes"])
        return super().held_out_measures(means) | {"val_bits_per_byte": bits_per_byte}

    def _decoder(self, vocabulary_size: int) -> Decoder:
        return decoder(
            self.model,
            vocabulary_size=vocabulary_size,
            num_tokens=self.context,
            norm_eps=self.norm_eps,
            checkpointing=self.checkpointing,
            positions=self.positions,
            ties_embeddings=self.ties_embeddings,
            **self.overrides,
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
