"""BUNDLES: what writes the paper bundle of each kind of subject."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from analysis.paper.box_bundle import write_box_bundle
from analysis.paper.bundle import write_bundle
from analysis.paper.search_bundle import write_search_bundle
from analysis.subject import AnySubject, BoxSubject, SearchSubject, Subject

# Called with the subject, the folder, and by name `command` and `font`; each returns the paths that it wrote.
BUNDLES: dict[type, Callable[..., list[Path]]] = {
    Subject: write_bundle,
    BoxSubject: write_box_bundle,
    SearchSubject: write_search_bundle,
}


def bundle_of(subject: AnySubject, out: Path, *, command: str, font: str = "sans") -> list[Path]:
    """Fills the folder `out` with what goes into a paper and returns the paths written, `main.tex` first.

    `command` is said to have made it; `font` is that of figures. Raises UsageError if `out` holds anything else than an
    earlier, unchanged bundle, or there is nothing to show.
    """
    return BUNDLES[type(subject)](subject, out, command=command, font=font)
