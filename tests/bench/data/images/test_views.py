"""Views of images: closed forms on ramps, and what leaves an image as it is."""

import math

import pytest
import torch

from bench.data.images.views import LUMA, NUM_FOR_CROPS, NUM_FOR_MOVES, cropped, moved, recoloured, uniform

STILL = {"rotation_degrees": 0.0, "max_scale": 1.0, "max_shift": 0.0}


def image(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def ramp(side: int, axis: int) -> torch.Tensor:
    """(1, side, side, 1): the place on one axis, rows 0 and columns 1, each from -1 to 1."""
    centres = (2 * torch.arange(side) + 1) / side - 1
    return centres.expand(side, side).T[None, :, :, None] if axis == 0 else centres.expand(side, side)[None, :, :, None]


def test_no_move_leaves_images_as_they_are():
    images = image(5, 8, 6, 3)
    kept = moved(images, image(5, NUM_FOR_MOVES), **STILL)
    torch.testing.assert_close(kept, images, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("numbers", "shifts"), [([0.5, 0.5, 1.0, 0.5], (0, 2)), ([0.5, 0.5, 0.5, 0.0], (-2, 0))])
def test_a_shift_by_whole_pixels_moves_them_and_lets_zeros_in(numbers, shifts):
    images = image(1, 8, 8, 1)
    found = moved(images, torch.tensor([numbers]), **(STILL | {"max_shift": 0.25}))
    expected = images.roll(shifts, dims=(1, 2))
    rows, columns = ((slice(0, max(s, 0)), slice(8 + min(s, 0), 8)) for s in shifts)
    for empty in rows:
        expected[:, empty] = 0
    for empty in columns:
        expected[:, :, empty] = 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_quarter_turn_is_a_quarter_turn():
    images = image(1, 7, 7, 2)
    turned = [
        moved(images, torch.tensor([[u, 0.5, 0.5, 0.5]]), **(STILL | {"rotation_degrees": 90.0})) for u in (0.0, 1.0)
    ]
    expected = [torch.rot90(images, k, dims=(1, 2)) for k in (-1, 1)]
    for one, other in zip(turned, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("u", "factor"), [(0.0, 1.6), (1.0, 1 / 1.6)])
def test_enlarging_makes_a_ramp_flatter(u, factor):
    slope = ramp(16, axis=1)
    found = moved(slope, torch.tensor([[0.5, u, 0.5, 0.5]]), **(STILL | {"max_scale": 1.6}))
    inner = slice(5, 11)  # where nothing comes from outside
    torch.testing.assert_close(found[:, inner, inner], factor * slope[:, inner, inner], rtol=0, atol=1e-6)


def test_the_whole_image_is_a_crop_and_may_be_mirrored():
    images = image(1, 6, 8, 3)
    numbers = torch.full((1, NUM_FOR_CROPS), 0.5)  # a square part, not mirrored, nothing recoloured or grey
    torch.testing.assert_close(cropped(images, numbers, min_area=1.0, jitter=0.0), images, rtol=0, atol=1e-6)
    numbers[0, 4] = 0.2
    torch.testing.assert_close(cropped(images, numbers, min_area=1.0, jitter=0.0), images.flip(2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_crop_has_its_share_of_the_area_and_lies_inside(axis):
    numbers = image(200, NUM_FOR_CROPS)
    numbers[:, 0], numbers[:, 4] = 0.0, 0.9  # the least area, not mirrored
    places = (1 + ramp(32, axis=axis)) / 2
    found = cropped(places.expand(200, -1, -1, -1), numbers, min_area=0.25, jitter=0.0)
    sides = (found.amax(dim=(1, 2, 3)) - found.amin(dim=(1, 2, 3))) * 32 / 31
    aspect = torch.exp((2 * numbers[:, 1] - 1) * math.log(4 / 3)) ** (1 if axis else -1)
    torch.testing.assert_close(sides, (0.25 * aspect).sqrt(), rtol=0, atol=0.02)


def test_recolouring_leaves_greys_grey_and_acts_at_its_strength():
    greys = image(50, 4, 4, 1).expand(-1, -1, -1, 3)
    numbers = image(50, 6)
    numbers[:, 4:] = torch.tensor([0.0, 0.9])  # all recoloured, none made grey
    found = recoloured(greys, numbers, jitter=0.4)
    assert (found.amax(dim=-1) - found.amin(dim=-1)).max() < 2e-3  # luma of YIQ is rounded to three digits
    flat = torch.full((1, 4, 4, 1), 0.4)
    brighter = recoloured(flat, torch.tensor([[1.0, 0.5, 0.5, 0.5, 0.0, 0.9]]), jitter=0.5)
    torch.testing.assert_close(brighter, torch.full_like(flat, 0.6), rtol=0, atol=1e-6)


def test_colours_keep_their_luma_where_hue_and_saturation_change():
    colours = 0.3 + 0.4 * image(50, 4, 4, 3)
    numbers = image(50, 6)
    numbers[:, :2], numbers[:, 4:] = 0.5, torch.tensor([0.0, 0.9])
    luma = torch.tensor(LUMA)
    found = recoloured(colours, numbers, jitter=0.2)
    assert (found - colours).abs().max() > 0.02
    torch.testing.assert_close((found * luma).sum(-1), (colours * luma).sum(-1), rtol=0, atol=2e-3)


def test_some_images_are_grey_and_some_untouched():
    colours, numbers = image(1000, 2, 2, 3), image(1000, 6)
    found = recoloured(colours, numbers, jitter=0.4)
    is_grey = (found.amax(dim=-1) - found.amin(dim=-1)).amax(dim=(1, 2)) < 1e-6
    is_untouched = (found == colours).flatten(1).all(dim=1)
    assert is_grey.float().mean().item() == pytest.approx(0.2, abs=0.04)
    assert is_untouched.float().mean().item() == pytest.approx(0.2 * 0.8, abs=0.04)


def test_uniform_numbers_are_a_function_of_seed_and_step():
    seeds, steps = torch.tensor([0, 7]), torch.tensor([[0], [3]])
    together = uniform(seeds, "s", steps, (5, 4))
    assert together.shape == (2, 2, 5, 4)
    assert torch.equal(together[1, 1], uniform(seeds[1], "s", steps[1, 0], (5, 4)))
    assert together.min() >= 0
    assert together.max() < 1
