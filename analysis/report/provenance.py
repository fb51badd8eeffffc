"""A suite's manifest in a few lines of text, for the end of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_SAID_ELSEWHERE = ("manifest_version", "suite", "seeds", "num_trials")


def provenance_of(
    manifest: Mapping[str, Any], *, description: str, trials: str, seeds: Iterable[int]
) -> dict[str, Any]:
    """What a page says of the run behind it: name and value. `trials` says in words how many are finished."""
    more = {name: value for name, value in manifest.items() if name not in _SAID_ELSEWHERE}
    packages, attention = more.pop("packages", {}), more.pop("attention", {})
    return {
        "suite": description,
        "trials": trials,
        "seeds": ", ".join(map(str, seeds)),
        **{name: _shown(value) for name, value in more.items()},
        "attention": "; ".join(f"{workload}: {_shown(by_method)}" for workload, by_method in attention.items()),
        "packages": _shown(packages),
    }


def _shown(value: Any) -> Any:
    """A value of the manifest, a dict in one line."""
    return ", ".join(f"{name} {one}" for name, one in value.items()) if isinstance(value, dict) else value
