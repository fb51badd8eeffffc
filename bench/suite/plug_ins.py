"""Plug-ins: entries that installed packages declare as entry points of the groups bench.methods, bench.optimizers, ...

In the package's pyproject.toml: [project.entry-points."bench.methods"] heavy = "heavy_attention:Heavy". Naming it in a
suite runs its code without --allow-code: who installed the package allowed it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class PlugIn:
    """An entry of a package. target: `package.module:Class`. refusal: why its name can't be used; "" if it can."""

    group: str
    name: str
    target: str
    package: str  # with its version
    refusal: str = ""


def plug_ins(group: str, shipped: Mapping[str, str]) -> dict[str, PlugIn]:
    """The plug-ins of a group that can be used, by name; none of their code is imported."""
    return {one.name: one for one in _judged(group, tuple(shipped)) if not one.refusal}


def refused_plug_ins(group: str, shipped: Mapping[str, str]) -> list[PlugIn]:
    """The plug-ins of a group that no name stands for: what is shipped is never replaced, nor one of two preferred."""
    return [one for one in _judged(group, tuple(shipped)) if one.refusal]


def with_target(group: str, shipped: Mapping[str, str], target: str) -> PlugIn | None:
    """The plug-in whose class is at `package.module:Class`, if any, preferably under a name that can be used."""
    candidates = [one for one in _judged(group, tuple(shipped)) if one.target == target]
    return min(candidates, key=lambda one: bool(one.refusal), default=None)


@functools.cache
def _judged(group: str, shipped: tuple[str, ...]) -> tuple[PlugIn, ...]:
    of_group = sorted((one for one in _declared() if one.group == group), key=lambda one: one.package)
    return tuple(replace(one, refusal=_refusal(one, of_group, shipped)) for one in of_group)


def _refusal(one: PlugIn, of_group: list[PlugIn], shipped: tuple[str, ...]) -> str:
    if not NAME.fullmatch(one.name):
        return "a name must be letters, digits and _"
    if not TARGET.fullmatch(one.target):
        return f"it must be at package.module:Class, got {one.target!r}"
    if one.name in shipped:
        return "an entry that is shipped has this name"
    others = [other.package for other in of_group if other.name == one.name and other.package != one.package]
    return f"{' and '.join(others)} declares the same name" if others else ""


@functools.cache
def _declared() -> tuple[PlugIn, ...]:
    """Every entry point of our groups. Text is searched before it is parsed: most packages have no plug-in."""
    return tuple(_entry_points())


def _entry_points() -> Iterator[PlugIn]:
    seen: set[str] = set()
    for distribution in metadata.distributions():
        try:
            if "[bench." not in (distribution.read_text("entry_points.txt") or ""):
                continue
            points, name, version = distribution.entry_points, distribution.name, distribution.version
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue  # metadata that can't be read declare nothing
        if name in seen:  # as for imports, the first one on the path counts
            continue
        seen.add(name)
        for point in points:
            if point.group.startswith("bench."):
                yield PlugIn(
                    group=point.group, name=point.name, target=point.value.strip(), package=f"{name} {version}"
                )
