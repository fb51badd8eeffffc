"""What is known of the runs behind a page in a few lines of text, for its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.losses import unscored_held_out
from analysis.subject import AnySubject, Subject

_SAID_ELSEWHERE = ("manifest_version", "suite", "seeds", "num_trials")


def provenance_of(subject: AnySubject) -> dict[str, Any]:
    """What a page says of the runs behind it: name and value. Of runs of others alone it says each import."""
    manifest = subject.plain_manifest
    unscored = unscored_held_out(subject.results) if isinstance(subject, Subject) else {}
    lacking = {"held-out loss": "; ".join(unscored.values())} if unscored else {}
    if not subject.facts:
        imports = manifest.get("imports", {})
        return {**lacking, **{f"import {name}": _import_words(record) for name, record in imports.items()}}
    more = {name: value for name, value in manifest.items() if name not in _SAID_ELSEWHERE}
    packages, attention, layers = (more.pop(name, {}) for name in ("packages", "attention", "layers"))
    return {
        **subject.facts,
        **lacking,
        **{name: _in_one_line(value) for name, value in more.items()},
        "attention": "; ".join(f"{workload}: {_in_one_line(by_method)}" for workload, by_method in attention.items()),
        **{f"layers of {workload}": "; ".join(lines) for workload, lines in layers.items()},
        "packages": _in_one_line(packages),
    }


def _in_one_line(value: Any) -> Any:
    """A value of the manifest, a dict in one line."""
    return ", ".join(f"{name} {one}" for name, one in value.items()) if isinstance(value, dict) else value


def _import_words(record: Mapping[str, Any]) -> str:
    sources = "; ".join(record["sources"]) or "not stated"
    assumed = ", ".join(f"{name} {value}" for name, value in record["assumed"].items()) or "nothing"
    runs = f"{record['num_runs']} runs of {record['file']}, sha256 {record['sha256']}"
    notes = "".join(f"; {note}" for note in record["notes"]) if "notes" in record else ""
    return f"{runs}; source: {sources}; assumed: {assumed}{notes}"
