"""Speech recognition by connectionist temporal classification: characters from log-mel frames.

Shapes: T steps, S seeds, B batch, F frames of features, N bands, E batches of held-out utterances, L labels; of the
model T frames, V symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Lt

from bench.data.speech.labels import NUM_SYMBOLS, SPACE
from bench.data.speech.recorded import RecordedSpeech
from bench.data.speech.spoken_digits import NUM_WORDS, SpokenDigits
from bench.data.speech.utterances import SpecAugment, Speech, Utterances
from bench.lazy import torch
from bench.methods.base import Method
from bench.methods.mask import MaskKind
from bench.models.attention import Mode, Tensors
from bench.models.ctc import ctc_loss
from bench.models.edit_distance import label_errors, word_errors
from bench.models.speech_encoder import SpeechEncoder, num_encoded, speech_encoder
from bench.randomness import integers
from bench.workloads.base import Forward
from bench.workloads.transformer_workload import TransformerWorkload

if TYPE_CHECKING:
    from torch import Tensor

SPOKEN_DIGITS = "spoken_digits"


@dataclass(frozen=True, kw_only=True)
class SpeechRecognition(TransformerWorkload):
    """CTC loss in nats a label, mean over the utterances of a batch.

    speech: "spoken_digits", synthetic number words made from formants, at most `num_words` of them (3 unless given), or
    a folder that `bench data prepare` made of recordings, of which utterances are `joined` of one speaker, those longer
    than `max_frames` of 10 ms left out. model: a preset of bench.models.speech_encoder, whose settings others of the
    same names replace. window, stride: frames that the convolution sees, and how many it moves on. layer_dropout: how
    often a block is left out of a step. time_masks, time_mask_frames, band_masks, band_mask_bands: SpecAugment of
    training data, how many masks and how wide. Held out: `eval_utterances`, in batches of `batch_size`. Error rates are
    those of the most probable path, over all held-out utterances together.
    """

    title = "speech recognition"
    source = "Graves et al. 2006; encoder: Zhai et al. 2023; masks: Park et al. 2019; formants: Peterson & Barney 1952"
    sources = ("graves2006connectionist", "zhai2023stabilizing", "park2019specaugment", "peterson1952control")
    paths = ("speech",)
    built_in = (SPOKEN_DIGITS,)
    measures = ("val_loss", "val_character_error_rate", "val_word_error_rate")

    speech: str = SPOKEN_DIGITS
    num_words: Annotated[int, Ge(1)] | None = None
    joined: Annotated[int, Ge(1)] = 1
    max_frames: Annotated[int, Ge(1)] | None = None
    model: Literal["ctc_100k", "ctc_1m", "ctc_255m"] = "ctc_1m"
    batch_size: Annotated[int, Ge(1)] = 16
    num_micro_batches: Annotated[int, Ge(1)] = 1  # pyright: ignore[reportIncompatibleMethodOverride]
    window: Annotated[int, Ge(1)] = 7
    stride: Annotated[int, Ge(1)] = 3
    positions: Literal["sinusoidal", "learned", "rotary", "none"] | None = None
    norm_eps: Annotated[float, Ge(0)] = 1e-5
    layer_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    time_masks: Annotated[int, Ge(0)] = 0
    time_mask_frames: Annotated[int, Ge(1)] = 20
    band_masks: Annotated[int, Ge(0)] = 0
    band_mask_bands: Annotated[int, Ge(1)] = 8
    eval_utterances: Annotated[int, Ge(1)] = 256

    def __post_init__(self) -> None:
        if self.batch_size % self.num_micro_batches:
            got = f"{self.batch_size} and {self.num_micro_batches}"
            raise ValueError(f"batch_size must be a multiple of num_micro_batches, got {got}")
        is_made = self.speech == SPOKEN_DIGITS
        if is_made and (self.joined > 1 or self.max_frames is not None):
            raise ValueError(f"joined and max_frames are for recordings, and speech is {SPOKEN_DIGITS!r}")
        if not is_made and self.num_words is not None:
            raise ValueError(
                f"num_words is for {SPOKEN_DIGITS!r}; of recordings `joined` says how many are an utterance"
            )
        self._encoder(num_frames=self.stride, num_bands=1)

    @property
    def network(self) -> SpeechEncoder:
        data = self._data()
        return self._encoder(num_frames=data.num_frames, num_bands=data.num_bands)

    @property
    def mask_kind(self) -> MaskKind:
        return "padded"

    def data_digest(self) -> str:
        data = self._data()
        data.check_stride(self.stride)
        return data.digest()

    def batches(self, seeds_S: Tensor, steps_T: Tensor) -> Tensors:
        """{"frames": (T, S, B, F, N) float32, "num_frames": (T, S, B) and "labels": (T, S, B, L), int64}."""
        utterances = self._data().train(seeds_S, steps_T, self.batch_size)
        if self.time_masks or self.band_masks:
            augment = SpecAugment(
                time_masks=self.time_masks,
                time_width=self.time_mask_frames,
                band_masks=self.band_masks,
                band_width=self.band_mask_bands,
            )

            def uniform(name: str, count: int) -> Tensor:
                shape = (self.batch_size, count)
                return integers(seeds_S, "data.masks." + name, steps_T[:, None], shape, 2**24).float() * 2.0**-24

            utterances = augment(utterances, uniform)
        return _tensors(utterances)

    def held_out(self, device: torch.device) -> Tensors:
        """{"frames": (E, B, F, N) float32, "num_frames": (E, B) and "labels": (E, B, L), int64}."""
        data = self._data()
        size = min(self.batch_size, data.num_held_out)
        num_batches = max(1, min(self.eval_utterances, data.num_held_out) // size)
        return _tensors(data.held_out(num_batches, size, device))

    def loss(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Forward:
        log_p_BTV, watched = self._log_probabilities(method, params, buffers, batch, mode)
        loss = _loss_a_label(log_p_BTV, *self._lengths(batch), is_reference=mode.is_reference)
        return Forward(loss=loss, objective=loss, watched=watched)

    def evaluate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensors:
        log_p_BTV, _ = self._log_probabilities(method, params, buffers, batch, mode)
        lengths = self._lengths(batch)
        word_errors_B, num_words_B = word_errors(log_p_BTV, *lengths, space=SPACE)
        means = {
            "label_errors": label_errors(log_p_BTV, *lengths),
            "num_labels": lengths[2],
            "word_errors": word_errors_B,
            "num_words": num_words_B,
        }
        dtype = log_p_BTV.dtype
        loss = _loss_a_label(log_p_BTV, *lengths, is_reference=mode.is_reference)
        return {"loss": loss} | {name: tensor.to(dtype).mean() for name, tensor in means.items()}

    def held_out_measures(self, means: Tensors) -> Tensors:
        return {
            "val_loss": means["loss"],
            "val_character_error_rate": means["label_errors"] / means["num_labels"],
            "val_word_error_rate": means["word_errors"] / means["num_words"],
        }

    def _log_probabilities(
        self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode
    ) -> tuple[Tensor, list[Tensor]]:
        """Log probabilities of the symbols (B, T, V), in float32 at least, and what the mode watches."""
        frames_BFN, dropout = batch["frames"], self.drop(buffers, mode)
        with self.autocast(frames_BFN):
            scores_BTV, watched = self.network.forward(
                method, params, buffers, frames_BFN, batch["num_frames"], mode, dropout
            )
        widened = scores_BTV.to(torch.promote_types(scores_BTV.dtype, torch.float32))
        return widened.log_softmax(dim=-1), watched

    def _lengths(self, batch: Tensors) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (B, L), frames of the encoder (B,), and labels (B,) of each utterance."""
        labels_BL = batch["labels"]
        return labels_BL, num_encoded(batch["num_frames"], self.stride), (labels_BL != 0).sum(dim=1)

    def _encoder(self, *, num_frames: int, num_bands: int) -> SpeechEncoder:
        return speech_encoder(
            self.model,
            window=self.window,
            stride=self.stride,
            num_frames=num_frames,
            num_bands=num_bands,
            num_symbols=NUM_SYMBOLS,
            norm_eps=self.norm_eps,
            positions=self.positions,
            layer_dropout=self.layer_dropout,
            **self.overrides,
        )

    def _data(self) -> Speech:
        if self.speech == SPOKEN_DIGITS:
            return SpokenDigits(num_words=NUM_WORDS if self.num_words is None else self.num_words)
        return RecordedSpeech(folder=self.speech, joined=self.joined, max_frames=self.max_frames)


def _loss_a_label(
    log_p_BTV: Tensor, labels_BL: Tensor, num_frames_B: Tensor, num_labels_B: Tensor, *, is_reference: bool
) -> Tensor:
    """Mean over utterances of nats a label, as torch's ctc_loss reduces to a mean."""
    loss_B = ctc_loss(log_p_BTV, labels_BL, num_frames_B, num_labels_B, is_reference=is_reference)
    return (loss_B / num_labels_B).mean()


def _tensors(utterances: Utterances) -> Tensors:
    return {"frames": utterances.frames, "num_frames": utterances.num_frames, "labels": utterances.labels}
