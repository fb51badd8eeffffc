"""In-context regression trains as a plain PyTorch model of the same definition does.

Shapes: B batch, T tokens, D dimension, C channels.
"""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from bench.errors import UsageError
from bench.methods.qk_clip import QKClip
from bench.methods.softmax import Softmax
from bench.optimizers.schedules import Constant
from bench.optimizers.sgd import SGD
from bench.training.lane import LaneProgram
from bench.workloads.in_context_regression import InContextRegression

NUM_STEPS = 10
SEED = torch.tensor(3)


class PlainRegression(nn.Module):
    """The paper's model, written for reading: softmax attention layers and nothing else."""

    def __init__(self, workload: InContextRegression) -> None:
        super().__init__()
        settings = workload
        widths = {"tokens": settings.dimension + 1, "learned": settings.width, "pass_through": settings.dimension}
        width = widths[settings.embedding]
        self.settings = settings
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    role: nn.Linear(width, width, bias=False)
                    for role in ("query", "key", "value")
                    if role != "key" or not settings.merged_query_key
                }
            )
            for _ in range(settings.depth)
        )
        if settings.embedding == "learned":
            self.embed = nn.Linear(settings.dimension + 1, width, bias=False)
            self.readout = nn.Linear(width, 1, bias=False)
        self.double()

    def load(self, params: dict[str, torch.Tensor]) -> None:
        """Copy weights (I, O); nn.Linear keeps them as (O, I)."""
        named = {f"layers.{i}.{role}.weight": layer[role] for i, layer in enumerate(self.layers) for role in layer}
        if self.settings.embedding == "learned":
            named |= {"embed": self.embed, "readout": self.readout}
        assert named.keys() == params.keys()
        with torch.no_grad():
            for name, linear in named.items():
                linear.weight.copy_(params[name].T if params[name].dim() == 2 else params[name][None])

    def forward(self, x_BTD: torch.Tensor, y_BT: torch.Tensor) -> torch.Tensor:
        settings = self.settings
        num_pairs = x_BTD.shape[1] - 1
        seen_BT = y_BT.clone()
        seen_BT[:, num_pairs] = 0
        tokens = torch.cat([x_BTD, seen_BT.unsqueeze(-1)], dim=-1)
        if settings.embedding == "pass_through":
            return -self.attend(x_BTD, seen_BT)[:, num_pairs]
        h = self.embed(tokens) if settings.embedding == "learned" else tokens
        for layer in self.layers:
            q, v = layer["query"](h), layer["value"](h)
            k = h if settings.merged_query_key else layer["key"](h)
            update = scaled_dot_product_attention(q, k, v, scale=settings.logit_scale)
            update = update / num_pairs if settings.divide_by_keys else update
            h = h + update if settings.residual else update
        return self.readout(h[:, num_pairs])[:, 0] if settings.embedding == "learned" else h[:, num_pairs, -1]

    def attend(self, x_BTD: torch.Tensor, y_BT: torch.Tensor) -> torch.Tensor:
        """Labels after all layers; x alone is projected and the pairs alone are keys."""
        settings = self.settings
        num_pairs = x_BTD.shape[1] - 1
        for layer in self.layers:
            q, v = layer["query"](x_BTD), layer["value"](x_BTD)
            k = x_BTD if settings.merged_query_key else layer["key"](x_BTD)
            num_keys = num_pairs + settings.query_is_key
            p = (settings.logit_scale * q @ k[:, :num_keys].transpose(1, 2)).softmax(dim=-1)[..., :num_pairs]
            divisor = num_pairs if settings.divide_by_keys else 1
            x_update = p @ v[:, :num_pairs] / divisor
            y_update = (p @ y_BT[:, :num_pairs, None]).squeeze(-1) / divisor
            x_BTD = x_BTD + x_update if settings.residual else x_update
            y_BT = y_BT + y_update if settings.residual else y_update
        return y_BT


def batch_at(workload: InContextRegression, step: int) -> dict[str, torch.Tensor]:
    batches = workload.batches(SEED[None], torch.tensor([step]))
    return {name: tensor[0, 0].double() for name, tensor in batches.items()}


def losses_of_program(workload: InContextRegression, start, knobs) -> tuple[list[float], list[float]]:
    program = LaneProgram(workload=workload, method=Softmax(), optimizer=SGD(decays="all"), schedule=Constant())
    lane = start
    losses, norms = [], []
    for step in range(NUM_STEPS):
        lane, loss, norm = program.train(lane, batch_at(workload, step), knobs, torch.tensor(step))
        losses.append(loss.item())
        norms.append(norm.item())
    return losses, norms


def losses_of_plain_model(workload: InContextRegression, params, knobs) -> tuple[list[float], list[float]]:
    model = PlainRegression(workload)
    model.load(params)
    optimizer = torch.optim.SGD(model.parameters(), lr=knobs["lr"].item(), weight_decay=knobs["weight_decay"].item())
    losses, norms = [], []
    for step in range(NUM_STEPS):
        batch = batch_at(workload, step)
        y_BT = torch.einsum("btd,bd->bt", batch["x"], batch["w"])
        loss = nn.functional.mse_loss(model(batch["x"], y_BT), y_BT[:, -1])
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), knobs["grad_clip"].item())
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return losses, norms


def assert_trains_alike(workload: InContextRegression, *, lr: float, grad_clip: float = math.inf) -> list[float]:
    program = LaneProgram(workload=workload, method=Softmax(), optimizer=SGD(), schedule=Constant())
    start = program.start(SEED, torch.tensor(1.0, dtype=torch.float64))
    knobs = {"lr": lr, "warmup_steps": 0.0, "weight_decay": 0.01, "grad_clip": grad_clip}
    knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in knobs.items()}
    losses, norms = losses_of_program(workload, start, knobs)
    plain_losses, plain_norms = losses_of_plain_model(workload, start["params"], knobs)
    assert losses == pytest.approx(plain_losses, rel=1e-10)
    assert norms == pytest.approx(plain_norms, rel=1e-9)
    return norms


SETTINGS = [
    *itertools.product(["tokens", "learned", "pass_through"], [True, False], [True, False], [{}]),
    ("tokens", True, False, {"merged_query_key": True}),
    *(("pass_through", True, True, {"query_is_key": True, "merged_query_key": merged}) for merged in (False, True)),
]


@pytest.mark.parametrize(("embedding", "residual", "divide_by_keys", "others"), SETTINGS)
def test_training_equals_a_plain_pytorch_model(embedding, residual, divide_by_keys, others):
    workload = InContextRegression(
        batch_size=6,
        num_pairs=7,
        embedding=embedding,
        width=6,
        residual=residual,
        divide_by_keys=divide_by_keys,
        initial_gain=0.6 if residual else 1.0,
        logit_scale=0.7,
        **others,
    )
    assert_trains_alike(workload, lr=0.003)


def test_gradient_clipping_equals_pytorchs():
    workload = InContextRegression(batch_size=6, num_pairs=7, depth=2, initial_gain=0.8)
    norms = assert_trains_alike(workload, lr=0.05, grad_clip=8.0)
    assert min(norms) < 8 < max(norms)


def test_untrained_model_knows_nothing_at_a_small_gain():
    """Prediction near 0: the loss is E (w . x)^2 = D."""
    workload = InContextRegression(batch_size=20_000, initial_gain=1e-3, depth=2)
    program = LaneProgram(workload=workload, method=Softmax(), optimizer=SGD(), schedule=Constant())
    lane = program.start(SEED, torch.tensor(1.0, dtype=torch.float64))
    loss = program.evaluate(lane, batch_at(workload, 0), torch.tensor(0))["loss"]
    # Var (w . x)^2 = 3 D (D + 2) - D^2 = 36 for D = 3: standard error 6 / sqrt(20,000).
    assert loss.item() == pytest.approx(3, abs=4 * 6 / 20_000**0.5)


def test_inputs_and_weights_are_standard_normal_and_uncorrelated():
    workload = InContextRegression(batch_size=20_000, dimension=2, num_pairs=1)
    batch = batch_at(workload, 0)
    columns = torch.cat([batch["x"].flatten(1), batch["w"]], dim=1)
    # Standard errors over 20,000 sequences: 1 / sqrt n of a mean and a covariance, sqrt 2 / sqrt n of a variance.
    bound = 4.5 / 20_000**0.5
    assert columns.mean(dim=0).abs().max() < bound
    assert (columns.T.cov() - torch.eye(6, dtype=torch.float64)).abs().max() < 2**0.5 * bound


def test_a_query_that_is_always_a_key_can_not_be_made_one():
    with pytest.raises(ValueError, match="query_is_key needs embedding pass_through, got tokens"):
        InContextRegression(query_is_key=True)


def test_a_method_that_limits_key_weights_needs_them():
    workload = InContextRegression(merged_query_key=True)
    with pytest.raises(UsageError, match="no key weights"):
        LaneProgram(workload=workload, method=QKClip(), optimizer=SGD(), schedule=Constant()).start(
            SEED, torch.tensor(1.0)
        )


@pytest.mark.parametrize(
    ("embedding", "query_is_key"),
    [("tokens", False), ("learned", False), ("pass_through", False), ("pass_through", True)],
)
def test_the_prediction_does_not_see_the_answer(embedding, query_is_key):
    """The query's y depends on a part of w that no pair shows: the prediction must not change with it."""
    settings = {"embedding": embedding, "query_is_key": query_is_key}
    workload = InContextRegression(batch_size=1, num_pairs=1, dimension=2, initial_gain=1.0, **settings)
    program = LaneProgram(workload=workload, method=Softmax(), optimizer=SGD(), schedule=Constant())
    lane = program.start(SEED, torch.tensor(1.0, dtype=torch.float64))
    x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)

    def loss(second: float) -> float:
        w = torch.tensor([[0.5, second]], dtype=torch.float64)
        return program.evaluate(lane, {"x": x, "w": w}, torch.tensor(0))["loss"].item()

    # A constant prediction makes the loss (prediction - second)^2, whose second differences are 2.
    values = [loss(second) for second in (0.0, 1.0, 2.0, 3.0)]
    seconds = [a - 2 * b + c for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    assert seconds == pytest.approx([2, 2], rel=1e-10)


def test_width_matters_for_a_learned_embedding_alone():
    def count(embedding: str, width: int) -> int:
        workload = InContextRegression(embedding=embedding, width=width)
        program = LaneProgram(workload=workload, method=Softmax(), optimizer=SGD(), schedule=Constant())
        return sum(p.numel() for p in program.start(SEED, torch.tensor(1.0))["params"].values())

    for embedding, channels in (("tokens", 4), ("pass_through", 3)):
        assert count(embedding, 8) == count(embedding, 16) == 5 * 3 * channels**2
    assert count("learned", 8) == 5 * 3 * 8**2 + 4 * 8 + 8


def test_batches_come_again_after_as_many_steps_as_are_asked_for():
    seeds, steps = torch.tensor([0, 1]), torch.arange(5)
    plain = InContextRegression(batch_size=3).batches(seeds, steps)
    again = InContextRegression(batch_size=3, num_batches=2).batches(seeds, steps)
    assert all(torch.equal(again[name], tensor[[0, 1, 0, 1, 0]]) for name, tensor in plain.items())
