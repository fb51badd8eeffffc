"""A vision transformer sees every patch once, and hands its embedding and readout to the method.

Shapes: B batch, Y rows, X columns, I channels of an image, P patches, F numbers of a patch.
"""

import pytest
import torch
from torch.nn import functional

from bench.methods.linear import PlainLinear, SigmaReparam
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.dropout import Dropout
from bench.models.vit import FROZEN, PRESETS, patches_of, sincos_2d, vit

SHAPE = (6, 4, 3)
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
BUFFERS = {"step": torch.tensor(0)}
SMALL = {"width": 8, "num_heads": 2, "num_layers": 2, "patch": 2}


class AllSigmaReparam(Softmax):
    def linear(self, role):
        return SigmaReparam()


def model(**settings):
    fixed = {"image_shape": SHAPE, "num_classes": 5, "pool": "class_token", "norm_eps": 1e-6} | NO_DROPOUT
    return vit("vit_digits", **(fixed | SMALL | settings))


def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(name.encode()))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def start(built, method=None, init_scale: float = 1.0):
    params, buffers = built.init(method or Softmax(), draw, torch.tensor(init_scale, dtype=torch.float64))
    return params, buffers | BUFFERS


def images(count: int = 3, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def logits(built, params, buffers, images_BYXI, method=None) -> torch.Tensor:
    return built.forward(method or Softmax(), params, buffers, images_BYXI, Mode(), Dropout(rate=0.0))[0]


@pytest.mark.parametrize("patch", [1, 2])
def test_patches_are_pytorchs(patch):
    images_BYXI = images()
    unfolded_BFP = functional.unfold(images_BYXI.permute(0, 3, 1, 2), kernel_size=patch, stride=patch)
    expected_BPF = unfolded_BFP.mT.unflatten(-1, (3, patch * patch)).mT.flatten(2)  # channels last in a pixel
    assert torch.equal(patches_of(images_BYXI, patch), expected_BPF)


@pytest.mark.parametrize(("pool", "num_tokens"), [("class_token", 7), ("mean", 6)])
def test_a_class_token_is_one_more_token(pool, num_tokens):
    built = model(pool=pool)
    params, _ = start(built)
    assert built.transformer.num_tokens == num_tokens
    assert ("embed.class_token" in params) == (pool == "class_token")
    assert params["embed.positions"].shape == (num_tokens, 8)


@pytest.mark.parametrize("pool", ["class_token", "mean"])
def test_without_positions_the_order_of_patches_does_not_matter(pool):
    swapped = torch.cat([images()[:, 2:4], images()[:, 0:2], images()[:, 4:]], dim=1)
    for positions, is_equal in (("none", True), ("learned", False)):
        built = model(pool=pool, positions=positions)
        params, buffers = start(built)
        one, other = (logits(built, params, buffers, batch) for batch in (images(), swapped))
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-13) == is_equal


@pytest.mark.parametrize("pool", ["class_token", "mean"])
def test_every_pixel_reaches_the_logits_of_its_own_image_alone(pool):
    built = model(pool=pool)
    params, buffers = start(built)
    images_BYXI = images().requires_grad_()
    logits(built, params, buffers, images_BYXI)[1].sum().backward()
    assert images_BYXI.grad is not None
    assert images_BYXI.grad[1].all()
    assert not images_BYXI.grad[[0, 2]].any()


def test_the_method_names_the_linear_layer_of_embedding_and_readout():
    seen = set()

    class NoteRoles(Softmax):
        def linear(self, role):
            seen.add(role)
            return PlainLinear()

    start(model(), NoteRoles())
    assert seen == {"query", "key", "value", "output", "mlp_in", "mlp_out", "embedding", "readout"}


def test_reparametrised_layers_have_no_scale_of_their_own():
    """gamma W / (u^T W v) with kept u and v: doubling every raw weight changes nothing."""
    built, method = model(), AllSigmaReparam()
    params, buffers = start(built, method)
    doubled = {name: 2 * p if name.endswith(".weight") else p for name, p in params.items()}
    assert {"embed.patches.gamma", "readout.gamma"} <= params.keys()
    expected = logits(built, params, buffers, images(), method)
    torch.testing.assert_close(logits(built, doubled, buffers, images(), method), expected, rtol=1e-10, atol=1e-12)


def test_every_reparametrised_layer_is_refreshed():
    built, method = model(), AllSigmaReparam()
    params, buffers = start(built, method)
    new = built.refresh(method, {name: p.flip(0) for name, p in params.items()}, buffers)
    assert new.keys() == buffers.keys()
    assert {name for name in new if torch.equal(new[name], buffers[name])} == {"step"}


def test_init_scale_multiplies_all_but_gains_and_biases():
    one, other = (start(model(), init_scale=scale)[0] for scale in (1.0, 3.0))
    for name, tensor in one.items():
        factor = 1 if name.endswith((".gain", ".bias")) else 3
        torch.testing.assert_close(other[name], factor * tensor, rtol=1e-14, atol=0)


def test_weights_start_at_the_deviations_that_are_stated():
    params, _ = start(model(width=256, patch=2, image_shape=(32, 32, 3)))
    expected = {
        "readout.weight": 0.02,
        "embed.patches.weight": 12**-0.5,
        "embed.positions": 1.0,
        "layers.0.mlp_out.weight": 1024**-0.5,
    }
    for name, std in expected.items():
        assert params[name].std().item() == pytest.approx(std, rel=4 / (2 * params[name].numel()) ** 0.5)


@pytest.mark.parametrize("preset", PRESETS)
def test_mlp_follows_an_overridden_width(preset):
    built = vit(
        preset, image_shape=(8, 8, 1), num_classes=2, pool="mean", norm_eps=0.0, width=96, num_heads=3, **NO_DROPOUT
    )
    assert built.transformer.mlp_width == 4 * 96


def test_heads_that_do_not_divide_the_width_and_patches_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="width must be a multiple of num_heads, got 9 and 2"):
        model(width=9)
    with pytest.raises(ValueError, match="patch must divide the sides of the images, got 4 for 6 x 4"):
        model(patch=4)


def test_fixed_positions_are_those_of_moco_v3():
    """Written as in its vits.py, for a square grid."""
    side, width = 3, 16
    ascending = torch.arange(side, dtype=torch.float64)
    grid_w, grid_h = torch.meshgrid(ascending, ascending, indexing="ij")
    omega = 1.0 / (10_000.0 ** (torch.arange(width // 4, dtype=torch.float64) / (width // 4)))
    out_w, out_h = (torch.einsum("m,d->md", grid.flatten(), omega) for grid in (grid_w, grid_h))
    expected = torch.cat([out_w.sin(), out_w.cos(), out_h.sin(), out_h.cos()], dim=1)
    torch.testing.assert_close(sincos_2d((side, side), width, expected), expected, rtol=0, atol=1e-15)


def test_fixed_positions_tell_places_apart_and_are_not_trained():
    built = model(positions="sincos_2d")
    params, buffers = start(built)
    assert "embed.positions" not in params
    swapped = torch.cat([images()[:, 2:4], images()[:, 0:2], images()[:, 4:]], dim=1)
    one, other = (logits(built, params, buffers, batch) for batch in (images(), swapped))
    assert not torch.allclose(one, other)
    with pytest.raises(ValueError, match="width must be a multiple of 4 for positions sincos_2d, got 6"):
        model(positions="sincos_2d", width=6)


@pytest.mark.parametrize("method", [Softmax(), AllSigmaReparam()])
def test_frozen_patches_compute_alike_and_are_not_trained(method):
    trained, frozen = model(), model(frozen_patches=True)
    params, buffers = start(trained, method)
    less, more = start(frozen, method)
    moved = {name for name in params if name.startswith("embed.patches.")}
    assert less.keys() == params.keys() - moved
    assert more.keys() == buffers.keys() | {FROZEN + name for name in moved}
    for refresh in (False, True):
        if refresh:
            buffers = trained.refresh(method, params, buffers)
            more = frozen.refresh(method, less, more)
        assert torch.equal(
            logits(trained, params, buffers, images(), method), logits(frozen, less, more, images(), method)
        )
