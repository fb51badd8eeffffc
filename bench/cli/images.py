"""Of `bench data`: what sets of images hold, and what their pixels say of classes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bench.cli.streams import printable


def has_images(source: str) -> bool:
    """Whether images have this name, or files of CIFAR-10 or STL-10 lie in this folder."""
    from bench.data.images.cifar import TEST_BATCH
    from bench.data.images.labelled import IMAGES
    from bench.data.images.stl import is_stl

    folder = Path(source).expanduser().absolute()
    return source in IMAGES or is_stl(folder) or os.path.isfile(folder / f"{TEST_BATCH}.bin")


def print_images(source: str, *, as_json: bool) -> None:
    """Counts, classes, digest, and accuracies by raw pixels beside which representations are to be seen.

    Those of grey images are moved as self_supervised_images moves them by default. Raises UsageError for damaged files.
    """
    facts = image_facts(source)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    unlabelled = f", {facts['num_unlabelled']:,} without a class" if facts["num_unlabelled"] else ""
    print(f"source: {printable(source)}")
    print(f"images: {facts['num_train']:,} train, {facts['num_val']:,} held out{unlabelled}")
    print(f"shape: {' x '.join(map(str, facts['shape']))} in {facts['num_classes']} classes")
    print(f"digest: {facts['digest']}")
    words = ", ".join(f"{name} {value:.1%}" for name, value in facts["raw_pixels"].items())
    print(f"raw pixels, views {facts['views']}: {words}")


def image_facts(source: str) -> dict[str, Any]:
    """Plain data of a set of images."""
    from bench.data.images.pixels import opened
    from bench.data.images.viewed import Views
    from bench.workloads.self_supervised_images import SelfSupervisedImages

    images = opened(source)
    shape = images.train_images.shape[1:]
    views: Views = "moves" if shape[-1] == 1 else "crops"
    facts = SelfSupervisedImages(images=source, views=views).data_facts()
    return {
        "source": source,
        "num_train": len(images.train_images),
        "num_val": len(images.val_images),
        "num_unlabelled": 0 if images.unlabelled_images is None else len(images.unlabelled_images),
        "shape": list(shape),
        "num_classes": images.num_classes,
        "digest": images.digest,
        "views": views,
        "raw_pixels": facts["raw_pixels"],
    }
