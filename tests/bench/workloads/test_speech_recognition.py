"""Speech recognition trains as an encoder of plain PyTorch modules under PyTorch's CTC does, on data that it states.

Shapes: B batch, F frames of features, N bands, T frames of the encoder, L labels.
"""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.data.speech.utterances import SpecAugment, Utterances
from bench.derivatives import hessian_product, with_gradient
from bench.errors import UsageError
from bench.models.attention import Mode
from bench.testing.workload_steps import batch_at, program_of, started
from bench.training.pack import Pack
from bench.training.train import train_pack
from bench.workloads.speech_recognition import SpeechRecognition
from tests.trials import trial

MASKS: tuple[dict[str, Any], ...] = ({}, {"time_masks": 2, "band_masks": 1})
SMALL: dict[str, Any] = {
    "batch_size": 6,
    "num_words": 2,
    "model": "ctc_100k",
    "positions": "learned",
    "depth": 2,
    "width": 16,
    "num_heads": 2,
}


def workload_of(**settings: Any) -> SpeechRecognition:
    return SpeechRecognition(**{**SMALL, **settings})


class PlainEncoder(nn.Module):
    """A convolution with a gated linear unit, PyTorch's post-norm encoder, a readout."""

    def __init__(self, width: int, num_heads: int, mlp_width: int, num_tokens: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(40, 2 * width, kernel_size=7, stride=3, padding=3)
        self.positions = nn.Parameter(torch.zeros(num_tokens, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                num_heads,
                mlp_width,
                dropout=0.0,
                activation="relu",
                batch_first=True,
            )
            for _ in range(2)
        )
        self.readout = nn.Linear(width, 29)
        self.double()

    def forward(self, frames_BFN: torch.Tensor, num_tokens_B: torch.Tensor) -> torch.Tensor:
        x = functional.glu(self.convolution(frames_BFN.mT), dim=1).mT + self.positions
        is_padding_BT = torch.arange(x.shape[1]) >= num_tokens_B[:, None]
        for block in self.blocks:
            x = block(x, src_key_padding_mask=is_padding_BT)
        return self.readout(x).log_softmax(-1)

    def load(self, params: dict[str, torch.Tensor]) -> None:
        """Copy every parameter of ours; weights are (I, O) here and (O, I) there."""
        kernel_OIK = params["embed.frames.weight"].reshape(7, 40, -1).permute(2, 1, 0)
        state = {"convolution.weight": kernel_OIK, "convolution.bias": params["embed.frames.bias"]}
        state |= {"positions": params["embed.positions"]}
        state |= {"readout.weight": params["readout.weight"].T, "readout.bias": params["readout.bias"]}
        names = {"output": "self_attn.out_proj", "mlp_in": "linear1", "mlp_out": "linear2"}
        for layer in range(2):
            ours, theirs = f"layers.{layer}.", f"blocks.{layer}."
            for kind in ("weight", "bias"):
                parts = [turned(params[f"{ours}{role}.{kind}"]) for role in ("query", "key", "value")]
                state[f"{theirs}self_attn.in_proj_{kind}"] = torch.cat(parts)
                for our, their in names.items():
                    state[f"{theirs}{their}.{kind}"] = turned(params[f"{ours}{our}.{kind}"])
            for our, their in (("norm_attention", "norm1"), ("norm_mlp", "norm2")):
                state |= {f"{theirs}{their}.weight": params[f"{ours}{our}.gain"]}
                state |= {f"{theirs}{their}.bias": params[f"{ours}{our}.bias"]}
        self.load_state_dict(state)


def turned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.T if tensor.ndim == 2 else tensor


def test_loss_and_gradients_are_those_of_plain_modules():
    workload = workload_of()
    program, lane, batch = program_of(workload), started(workload), batch_at(workload, 0)
    plain = PlainEncoder(16, 2, 64, workload.num_keys)
    plain.load(lane["params"])
    lengths = (batch["num_frames"] + 2) // 3, (batch["labels"] != 0).sum(1)
    log_p_BTV = plain(batch["frames"], lengths[0])
    expected = functional.ctc_loss(log_p_BTV.transpose(0, 1), batch["labels"], *lengths)  # its mean is by label
    expected.backward()
    gradients = program.gradients(lane, batch, torch.tensor(0), torch.tensor(0))
    torch.testing.assert_close(gradients["loss"], expected, rtol=1e-12, atol=0)
    for name, parameter in (("readout.weight", plain.readout.weight), ("embed.positions", plain.positions)):
        assert parameter.grad is not None
        found = gradients["grads"][name]
        torch.testing.assert_close(found.T if "weight" in name else found, parameter.grad, rtol=0, atol=1e-12)
    assert plain.convolution.weight.grad is not None
    kernel_OIK = gradients["grads"]["embed.frames.weight"].reshape(7, 40, -1).permute(2, 1, 0)
    torch.testing.assert_close(kernel_OIK, plain.convolution.weight.grad, rtol=0, atol=1e-12)


def test_an_utterance_depends_on_neither_its_padding_nor_its_neighbours():
    workload = workload_of()
    program, lane, batch = program_of(workload), started(workload), batch_at(workload, 0)
    index = int(batch["num_frames"].argmin())
    length = int(batch["num_frames"][index])
    alone = {name: tensor[index : index + 1] for name, tensor in batch.items()}
    cut = alone | {"frames": alone["frames"][:, :length]}
    expected = program.gradients(lane, cut, torch.tensor(0), torch.tensor(0))
    padded = program.gradients(lane, alone, torch.tensor(0), torch.tensor(0))
    torch.testing.assert_close(padded["loss"], expected["loss"], rtol=1e-12, atol=0)
    torch.testing.assert_close(padded["grads"], expected["grads"], rtol=1e-9, atol=1e-12)
    others = {name: torch.cat([tensor, tensor.roll(1, 0)]) for name, tensor in batch.items()}
    losses = [program.evaluate(lane, one, torch.tensor(0))["loss"] for one in (batch, others)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=0)


def test_error_rates_are_of_all_held_out_utterances_together():
    """Errors over characters, not a mean of rates of utterances; nothing said is a rate of 1."""
    workload = workload_of(eval_utterances=12)
    means = {"label_errors": 3.0, "num_labels": 8.0, "word_errors": 1.0, "num_words": 2.0, "loss": 0.5}
    found = workload.held_out_measures({name: torch.tensor([value]) for name, value in means.items()})
    assert {name: value.item() for name, value in found.items()} == {
        "val_loss": 0.5,
        "val_character_error_rate": 0.375,
        "val_word_error_rate": 0.5,
    }
    lane, batch = started(workload), batch_at(workload, 0)
    lane["params"]["readout.bias"] = lane["params"]["readout.bias"].clone()
    lane["params"]["readout.bias"][0] = 1e3  # blanks alone
    silent = program_of(workload).evaluate(lane, batch, torch.tensor(0))
    assert silent["label_errors"] == silent["num_labels"] == (batch["labels"] != 0).sum(1).double().mean()
    assert silent["word_errors"] == silent["num_words"] == ((batch["labels"] == 1).sum(1) + 1).double().mean()


def test_the_loss_falls_and_a_lane_is_its_solo_run():
    settings = SMALL | {"num_words": 1, "depth": 1, "num_steps": 10, "final_loss_steps": 1, "eval_utterances": 12}
    lanes = [
        trial(workload="speech_recognition", workload_params=settings, optimizer="adam", lr=lr, seed=seed)
        for lr, seed in ((0.01, 0), (0.003, 1))
    ]
    together, _ = train_pack(Pack(trials=tuple(lanes)))
    (alone,), _ = train_pack(Pack(trials=(lanes[1],)))
    for result in together:
        assert result.final_loss is not None
        assert result.initial_loss is not None
        assert result.final_loss < 0.8 * result.initial_loss
    torch.testing.assert_close(together[1].final_loss, alone.final_loss, rtol=1e-3, atol=0)
    torch.testing.assert_close(together[1].held_out["val_loss"], alone.held_out["val_loss"], rtol=1e-3, atol=0)


def test_masks_cover_spans_within_an_utterance_and_nothing_else():
    frames = torch.ones(500, 30, 12)
    num_frames = torch.arange(1, 501) % 30 + 1
    generator = torch.Generator().manual_seed(0)
    masked = SpecAugment(time_masks=1, time_width=10, band_masks=1, band_width=3)(
        Utterances(frames=frames, num_frames=num_frames, labels=torch.zeros(500, 2, dtype=torch.int64)),
        lambda name, count: torch.rand(500, count, generator=generator),
    ).frames
    are_frames, are_bands = (masked == 0).all(dim=2), (masked == 0).all(dim=1)
    assert torch.equal(masked == 0, are_frames[..., None] | are_bands[:, None])
    widths = are_frames.sum(1)
    assert (widths <= torch.minimum(num_frames, torch.tensor(10))).all()
    assert not are_frames[torch.arange(30) >= num_frames[:, None]].any()
    for spans in (are_frames, are_bands):
        assert ((spans[:, 1:] & ~spans[:, :-1]).sum(1) + spans[:, 0] <= 1).all()  # one span
    assert set(widths[num_frames > 12].tolist()) == set(range(11))  # every width


def test_training_data_are_masked_and_held_out_ones_are_not():
    plain, masked = (workload_of(**masks) for masks in MASKS)
    whole, covered = batch_at(plain, 3)["frames"], batch_at(masked, 3)["frames"]
    assert torch.equal(torch.where(covered == 0, 0, whole), covered)
    assert not torch.equal(whole, covered)
    device = torch.device("cpu")
    assert torch.equal(plain.held_out(device)["frames"], masked.held_out(device)["frames"])


def test_what_can_not_be_said_or_parted_is_refused():
    with pytest.raises(UsageError, match="stride must be at most 4, the frames of a symbol here, got 5"):
        SpeechRecognition(stride=5).data_digest()
    with pytest.raises(ValueError, match="window must be odd"):
        SpeechRecognition(window=6)
    with pytest.raises(ValueError, match="batch_size must be a multiple of num_micro_batches, got 16 and 3"):
        SpeechRecognition(num_micro_batches=3)


def test_the_loss_of_uniform_symbols_is_that_of_counting():
    """-log of (paths that say the labels / all paths), by label; one label in 2 frames: 3 of 29^2 paths."""
    workload = workload_of(num_words=1)
    lane = started(workload)
    lane["params"]["readout.weight"] = torch.zeros_like(lane["params"]["readout.weight"])
    batch = batch_at(workload, 0)
    labels = torch.zeros_like(batch["labels"])
    labels[:, 0] = 5
    batch |= {"labels": labels, "num_frames": torch.full_like(batch["num_frames"], 6)}
    forward = workload.loss(program_of(workload).method, lane["params"], counters(), batch, Mode())
    assert math.isclose(forward.loss.item(), -math.log(3 / 29**2), rel_tol=1e-12)


def counters() -> dict[str, torch.Tensor]:
    return {"step": torch.tensor(0), "seed": torch.tensor(0), "draw": torch.tensor(0)}


def test_products_with_the_hessian_go_through_the_loss():
    """The gradient along a direction, differentiated once more, is symmetric: of two directions u H v = v H u."""
    workload = workload_of(num_words=1, depth=1, width=8)
    program, lane, batch = program_of(workload), started(workload), batch_at(workload, 0)
    mode = Mode(is_reference=True)

    def loss(params):
        return workload.loss(program.method, params, counters(), batch, mode).loss

    generator = torch.Generator().manual_seed(0)
    u, v = (
        {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in lane["params"].items()}
        for _ in range(2)
    )
    (_, hu), (_, hv) = (hessian_product(loss, lane["params"], direction) for direction in (u, v))
    left, right = (sum((h[n] * other[n]).sum() for n in h) for h, other in ((hu, v), (hv, u)))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=0)
    grads, _ = with_gradient(lambda params: (loss(params), ()), lane["params"])
    assert all(grad.isfinite().all() for grad in grads.values())
