"""Definition: what a number that a report states is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One score in words. `bounds` are the least and the largest value that it can have.

    higher_is_better: None if neither is. sources: BibTeX keys of references/sources.bib, none if it is this project's.
    """

    title: str
    definition: str
    unit: str
    bounds: tuple[float, float]
    higher_is_better: bool | None
    sources: tuple[str, ...] = ()
