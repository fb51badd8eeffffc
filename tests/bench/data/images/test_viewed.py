"""Pairs of views, and banks: which images they are of, and how they are drawn."""

import dataclasses

import numpy
import pytest
import torch

from bench.data.images.labelled import open_images
from bench.data.images.pixels import Split, pixels, standardised
from bench.data.images.viewed import ViewedImages, at_even_distances, epoch_order

CPU = torch.device("cpu")
STILL = ViewedImages(
    images="digits", views="moves", rotation_degrees=0.0, max_scale=1.0, max_shift=0.0, min_area=0.2, jitter=0.4
)


def digits(split: Split) -> torch.Tensor:
    return standardised("digits", pixels("digits", split, torch.arange(STILL.count(split))))


def nearest(images: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each image the index of the nearest of `others`, and the largest difference to it."""
    distance = torch.cdist(images.flatten(1), others.flatten(1))
    index = distance.argmin(dim=1)
    return index, (images - others[index]).abs().max()


def test_an_epoch_has_every_image_once_and_the_next_another_order():
    order = epoch_order(torch.tensor([0, 1]), torch.arange(8), batch_size=5, num_images=20)
    assert order.shape == (8, 2, 5)
    for seed in range(2):
        epochs = order[:4, seed].flatten(), order[4:, seed].flatten()
        assert all(torch.equal(epoch.sort().values, torch.arange(20)) for epoch in epochs)
        assert not torch.equal(*epochs)
    assert not torch.equal(order[:, 0], order[:, 1])


def test_an_epoch_ends_where_fewer_than_a_batch_are_left():
    order = epoch_order(torch.tensor([0]), torch.arange(3), batch_size=8, num_images=23)[:, 0]
    assert len(order[:2].flatten().unique()) == 16
    assert torch.equal(order[2], epoch_order(torch.tensor([0]), torch.tensor([2]), batch_size=8, num_images=23)[0, 0])


def test_places_in_a_batch_are_as_likely_for_every_image():
    order = epoch_order(torch.arange(2000), torch.tensor([0]), batch_size=1, num_images=4).flatten()
    assert numpy.abs(numpy.bincount(order.numpy()) - 500).max() < 4 * (2000 * 3 / 16) ** 0.5


def test_both_views_are_of_one_training_image_and_held_out_ones_of_held_out_images():
    batch = STILL.batches(torch.tensor([3]), torch.tensor([4]), batch_size=30)
    assert torch.equal(batch["first"], batch["second"])  # nothing is moved
    index, distance = nearest(batch["first"][0, 0], digits("train"))
    assert distance < 1e-5
    assert len(index.unique()) == 30
    held_out = STILL.held_out(CPU, num_pairs=500)
    index, distance = nearest(held_out["first"][0], digits("val"))
    assert distance < 1e-5
    assert torch.equal(index, torch.arange(359))


def test_moved_views_differ_from_each_other_and_from_their_image():
    moving = dataclasses.replace(STILL, rotation_degrees=30.0, max_shift=0.12)
    batch, still = (of.batches(torch.tensor([3]), torch.tensor([4]), batch_size=30) for of in (moving, STILL))
    views = batch["first"][0, 0], batch["second"][0, 0], still["first"][0, 0]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (views[one] != views[other]).flatten(1).any(dim=1).all()


def test_a_bank_is_of_training_images_at_even_distances_with_their_labels():
    bank = {name: tensor[0] for name, tensor in STILL.bank(CPU, bank_size=100, num_queries=1000).items()}
    index, distance = nearest(bank["bank"], digits("train"))
    assert distance < 1e-5
    assert torch.equal(index, at_even_distances(1438, 100, CPU))
    images = open_images("digits")
    assert bank["bank_labels"].tolist() == images.train_labels[index.numpy()].tolist()
    assert bank["queries_labels"].tolist() == images.val_labels.tolist()


@pytest.mark.parametrize(("count", "most", "expected"), [(10, 4, [0, 2, 5, 7]), (3, 5, [0, 1, 2])])
def test_even_distances_reach_over_all_images(count, most, expected):
    assert at_even_distances(count, most, CPU).tolist() == expected


def test_crops_are_recognised_whole():
    cropping = dataclasses.replace(STILL, views="crops")
    bank = cropping.bank(CPU, bank_size=50, num_queries=20)
    assert nearest(bank["queries"][0], digits("val"))[1] == 0


def test_unlabelled_images_are_learned_from_where_there_are_any(stl):
    images = dataclasses.replace(STILL, images=str(stl))
    assert images.learned == "unlabelled"
    assert images.count("unlabelled") == 4
    batch = images.batches(torch.tensor([0]), torch.tensor([0]), batch_size=4)
    unlabelled = standardised(str(stl), pixels(str(stl), "unlabelled", torch.arange(4)))
    index, distance = nearest(batch["first"][0, 0], unlabelled)
    assert distance < 1e-4
    assert sorted(index.tolist()) == [0, 1, 2, 3]
