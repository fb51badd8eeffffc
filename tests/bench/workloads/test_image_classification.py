"""Image classification trains as a vision transformer of plain PyTorch modules does, on the data that it states.

Shapes: B batch, Y rows, X columns, I channels of an image, T tokens, C channels.
"""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.data.images.labelled import open_images
from bench.errors import UsageError
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.classify import calibration_error
from bench.optimizers.adam import AdamW
from bench.optimizers.schedules import Constant
from bench.suite import Suite
from bench.training.lane import LaneProgram
from bench.training.pack import Pack
from bench.training.train import train_pack
from bench.workloads.image_classification import ImageClassification
from tests.decay_groups import decay_groups

NUM_STEPS = 10
SEED = torch.tensor(3)
TRAIN, EVALUATE = Mode(is_training=True), Mode()
SMALL = {"batch_size": 6, "depth": 2, "width": 8, "num_heads": 2}
KNOBS = {"lr": 0.01, "warmup_steps": 4.0, "weight_decay": 0.1, "grad_clip": math.inf}


class PlainBlock(nn.Module):
    def __init__(self, workload: ImageClassification, width: int, num_heads: int, mlp_width: int) -> None:
        super().__init__()
        bias = workload.has_biases is not False
        self.num_heads, self.placement, self.is_gated = num_heads, workload.norm_placement, workload.mlp == "swiglu"
        self.query, self.key, self.value, self.output = (nn.Linear(width, width, bias=bias) for _ in range(4))
        self.mlp_in, self.mlp_gate = (nn.Linear(width, mlp_width, bias=bias) for _ in range(2))
        self.mlp_out = nn.Linear(mlp_width, width, bias=bias)
        self.norm_attention, self.norm_mlp = plain_norm(workload, width), plain_norm(workload, width)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            layer(x).view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        return self.output(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))

    def mlp(self, x: torch.Tensor) -> torch.Tensor:
        if self.is_gated:
            return self.mlp_out(functional.silu(self.mlp_gate(x)) * self.mlp_in(x))
        return self.mlp_out(functional.gelu(self.mlp_in(x), approximate="tanh"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.placement == "post":
            x = self.norm_attention(x + self.attend(x))
            return self.norm_mlp(x + self.mlp(x))
        if self.placement == "none":
            x = x + self.attend(x)
            return x + self.mlp(x)
        x = x + self.attend(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))


class PlainViT(nn.Module):
    """A vision transformer for 8 x 8 images of one channel, written for reading."""

    def __init__(self, workload: ImageClassification) -> None:
        super().__init__()
        width, patch = workload.width, workload.patch or 2
        self.pool = workload.pool
        self.embed = nn.Conv2d(1, width, kernel_size=patch, stride=patch, bias=workload.has_biases is not False)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (8 // patch) ** 2 + (self.pool == "class_token"), width))
        blocks = (PlainBlock(workload, width, workload.num_heads, 4 * width) for _ in range(workload.depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm = plain_norm(workload, width) if workload.norm_placement in (None, "pre") else nn.Identity()
        self.readout = nn.Linear(width, 10, bias=workload.has_biases is not False)
        self.double()

    def forward(self, images_BYXI: torch.Tensor) -> torch.Tensor:
        x = self.embed(images_BYXI.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        if self.pool == "class_token":
            x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        x = self.norm(self.blocks(x + self.positions))
        return self.readout(x[:, 0] if self.pool == "class_token" else x.mean(dim=1))

    def load(self, params: dict[str, torch.Tensor]) -> None:
        """Copy every parameter of ours; weights are (I, O) here and (O, I) there."""
        copied = set()
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                ours = our_name(name)
                if ours not in params:
                    assert not parameter.any() or "mlp_gate" in name or "norm" in name, name
                    continue
                tensor = params[ours]
                if name == "embed.weight":
                    patch = parameter.shape[-1]
                    tensor = tensor.reshape(patch, patch, -1, parameter.shape[0]).permute(3, 2, 0, 1)
                elif tensor.dim() == 2 and name.endswith("weight"):
                    tensor = tensor.T
                parameter.copy_(tensor.reshape(parameter.shape))
                copied.add(ours)
        assert copied == params.keys()


def plain_norm(workload: ImageClassification, width: int) -> nn.Module:
    if workload.norm == "rms":
        return nn.RMSNorm(width, eps=workload.norm_eps)
    return nn.LayerNorm(width, eps=workload.norm_eps, bias=workload.has_biases is not False)


def our_name(name: str) -> str:
    if name in ("class_token", "positions"):
        return f"embed.{name}"
    name = name.replace("embed.", "embed.patches.").replace("blocks.", "layers.")
    is_norm = "norm" in name
    return name.replace(".weight", ".gain") if is_norm else name


def batch_at(workload: ImageClassification, step: int) -> dict[str, torch.Tensor]:
    batches = workload.batches(SEED[None], torch.tensor([step]))
    return double({name: tensor[0, 0] for name, tensor in batches.items()})


def double(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in batch.items()}


def scalars(knobs: dict[str, float]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in knobs.items()}


def program_of(workload: ImageClassification, **settings) -> LaneProgram:
    entries = {"method": Softmax(), "optimizer": AdamW(), "schedule": Constant()}
    return LaneProgram(workload=workload, **(entries | settings))


def start_of(workload: ImageClassification):
    return program_of(workload).start(SEED, torch.tensor(1.0, dtype=torch.float64))


def counters(step: int = 0) -> dict[str, torch.Tensor]:
    return {"step": torch.tensor(step), "seed": SEED, "draw": torch.tensor(step)}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pool": "mean"},
        {"patch": 4},
        {"norm_placement": "post"},
        {"norm_placement": "none", "initialisation": "gpt2"},
        {"norm": "rms", "mlp": "swiglu"},
        {"has_biases": False, "norm_eps": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("decays", ["matrices", pytest.param("all", marks=pytest.mark.repetition)])
def test_training_equals_a_plain_pytorch_model(settings, decays):
    workload = ImageClassification(**(SMALL | settings))
    lane = start_of(workload)
    model = PlainViT(workload)
    model.load(lane["params"])
    decayed = torch.optim.AdamW(decay_groups(model, KNOBS["weight_decay"], decays), lr=KNOBS["lr"])
    warmup = torch.optim.lr_scheduler.LambdaLR(decayed, lambda step: min(1.0, (step + 1) / KNOBS["warmup_steps"]))
    program = program_of(workload, optimizer=AdamW(decays=decays))
    seen, expected = [], []
    for step in range(NUM_STEPS):
        batch = batch_at(workload, step)
        lane, loss, norm = program.train(lane, batch, scalars(KNOBS), torch.tensor(step))
        seen.append((loss.item(), norm.item()))
        decayed.zero_grad()
        loss = functional.cross_entropy(model(batch["images"]), batch["labels"])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf)
        expected.append((loss.item(), norm.item()))
        decayed.step()
        warmup.step()
    for ours, theirs in zip(seen, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-7)
    assert seen[-1][0] != pytest.approx(seen[0][0], rel=1e-2)


@pytest.mark.parametrize("pool", ["class_token", "mean"])
def test_measures_equal_a_plain_pytorch_models(pool):
    workload = ImageClassification(**SMALL, pool=pool)
    lane = start_of(workload)
    model = PlainViT(workload)
    model.load(lane["params"])
    held_out = {name: tensor[0] for name, tensor in double(workload.held_out(torch.device("cpu"))).items()}
    logits_BV = model(held_out["images"])
    measures = workload.evaluate(Softmax(), lane["params"], lane["buffers"] | counters(), held_out, EVALUATE)
    loss = functional.cross_entropy(logits_BV, held_out["labels"])
    assert measures["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    correct_B = logits_BV.argmax(dim=-1) == held_out["labels"]
    assert measures["accuracy"].item() == pytest.approx(correct_B.double().mean().item(), rel=1e-12)
    assert 0 <= calibration_error(measures["calibration_gap_K"]) <= 1


def test_pixels_are_scaled_by_the_training_images():
    images = open_images("digits")
    workload = ImageClassification()
    mean, std = images.train_images.mean(dtype=float), images.train_images.std(dtype=float)
    held_out = workload.held_out(torch.device("cpu"))
    expected = torch.from_numpy((images.val_images - mean) / std)
    torch.testing.assert_close(held_out["images"][0].double(), expected, rtol=1e-6, atol=1e-6)
    train = torch.from_numpy((images.train_images - mean) / std)
    assert train.mean().item() == pytest.approx(0, abs=1e-12)
    assert train.std(correction=0).item() == pytest.approx(1, rel=1e-12)
    batch = batch_at(workload, 0)
    distance = (batch["images"][:, None] - train).abs().amax(dim=(2, 3, 4))
    assert distance.amin(dim=1).max() < 1e-6
    labels = torch.from_numpy(images.train_labels)[distance.argmin(dim=1)]
    assert torch.equal(labels, batch["labels"])


def test_every_held_out_digit_counts_once():
    images = open_images("digits")
    held_out = ImageClassification().held_out(torch.device("cpu"))
    assert held_out["images"].shape == (1, 359, 8, 8, 1)
    assert held_out["labels"].flatten().tolist() == images.val_labels.tolist()


@pytest.mark.parametrize(("most", "shape"), [(359, (1, 359)), (358, (2, 179)), (100, (4, 89)), (1, (359, 1))])
def test_held_out_images_come_in_the_fewest_equal_batches(most, shape):
    held_out = ImageClassification(eval_batch_size=most).held_out(torch.device("cpu"))
    assert held_out["labels"].shape == shape
    assert shape[0] * shape[1] > 359 - shape[0]


def test_images_are_drawn_evenly_and_with_replacement():
    """Chi-square of how often each of 1,438 images is drawn: mean 1,437, variance 2 x 1,437."""
    workload = ImageClassification(batch_size=1000)
    images = workload.batches(SEED[None], torch.arange(100))["images"].flatten(0, 2).flatten(1)
    _, counts = images.unique(dim=0, return_counts=True)
    num_images = len(open_images("digits").train_labels)
    assert len(counts) == num_images  # no two digits are alike
    expected = 100_000 / num_images
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square == pytest.approx(num_images - 1, abs=4 * math.sqrt(2 * (num_images - 1)))


def test_untrained_model_knows_nothing():
    """Nearly equal logits: the loss is log of the number of classes."""
    workload = ImageClassification(batch_size=256)
    lane = start_of(workload)
    loss = workload.loss(Softmax(), lane["params"], lane["buffers"] | counters(), batch_at(workload, 0), EVALUATE).loss
    assert loss.item() == pytest.approx(math.log(10), abs=0.03)


@pytest.mark.repetition
@pytest.mark.parametrize(
    "setting",
    [
        {"images": "mnist_5000"},
        {"model": "vit_tiny", "patch": None},
        {"batch_size": 7},
        {"depth": 3},
        {"width": 12},
        {"num_heads": 4},
        {"mlp": "swiglu"},
        {"mlp_width": 24},
        {"norm": "rms"},
        {"norm_placement": "post"},
        {"norm_placement": "none"},
        {"positions": "none"},
        {"has_biases": False},
        {"initialisation": "gpt2"},
        {"patch": 4},
        {"pool": "mean"},
        {"norm_eps": 0.1},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_every_setting_changes_training(setting):
    def losses(settings) -> list[float]:
        workload = ImageClassification(**settings)
        program, seen = program_of(workload), []
        lane = program.start(SEED, torch.tensor(1.0, dtype=torch.float64))
        for step in range(2):
            lane, loss, _ = program.train(lane, batch_at(workload, step), scalars(KNOBS), torch.tensor(step))
            seen.append(loss.item())
        return seen

    base = SMALL | {"patch": 2}
    assert losses(base | setting) != losses(base)


def test_held_out_and_probed_examples_follow_their_settings():
    workload = ImageClassification(**SMALL, probe_examples=5, eval_every_steps=70)
    assert workload.eval_every == 70
    assert {len(tensor) for tensor in workload.probe_batch(batch_at(workload, 0)).values()} == {5}
    assert (workload.num_layers, workload.num_keys) == (2, 17)


def test_dropout_acts_in_training_alone_and_depends_on_the_step():
    workload = ImageClassification(**SMALL, dropout=0.3)
    lane, batch = start_of(workload), batch_at(workload, 0)

    def loss(mode: Mode, step: int) -> float:
        return workload.loss(Softmax(), lane["params"], lane["buffers"] | counters(step), batch, mode).loss.item()

    assert loss(EVALUATE, 0) == loss(EVALUATE, 1)
    assert len({loss(EVALUATE, 0), loss(TRAIN, 0), loss(TRAIN, 1)}) == 3
    whole = dataclasses.replace(workload, dropout=0.0)
    plain = whole.loss(Softmax(), lane["params"], lane["buffers"] | counters(), batch, TRAIN).loss.item()
    assert plain == loss(EVALUATE, 0)


def test_bfloat16_is_near_float32():
    batch = {name: t.float() if t.is_floating_point() else t for name, t in batch_at(ImageClassification(), 0).items()}
    losses = {}
    for precision in ("float32", "bfloat16"):
        workload = ImageClassification(precision=precision, initialisation="fan_in")
        lane = program_of(workload).start(SEED, torch.tensor(1.0))
        seen = workload.loss(Softmax(), lane["params"], lane["buffers"] | counters(), batch, EVALUATE)
        assert seen.loss.dtype == torch.float32
        losses[precision] = seen.loss.item()
    assert losses["float32"] != losses["bfloat16"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=1e-2)


def test_digest_is_that_of_the_images_and_a_patch_that_does_not_fit_is_refused():
    assert ImageClassification().data_digest() == open_images("digits").digest
    with pytest.raises(UsageError, match=r"images 'digits': patch must divide .*, got 3 for 8 x 8"):
        ImageClassification(patch=3).data_digest()
    with pytest.raises(UsageError, match="no such images"):
        ImageClassification(images="digit").data_digest()


def test_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width must be a multiple of num_heads, got 66 and 4"):
        ImageClassification(width=66)


@pytest.mark.slow
def test_learns_the_digits():
    suite = Suite(
        name="digits",
        workloads=[{"name": "image_classification", "num_steps": 300}],
        methods=["softmax"],
        optimizers=["adamw"],
        schedules=["cosine"],
        knobs={"lr": 3e-3, "warmup_steps": 20, "weight_decay": 0.1},
        seeds=1,
        probe_every=100,
    )
    [result], _ = train_pack(Pack(trials=suite.expand()))
    assert result.held_out["val_accuracy"] > 0.95
    assert result.held_out["val_loss"] < 0.2 < result.held_out["initial_val_loss"]
