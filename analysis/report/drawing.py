"""Files of a report: text, and figures with what they draw beside them. The only file here that writes."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from analysis.figures.lr_loss import save_spec
from analysis.figures.of_a_suite import Drawn
from analysis.report.page import Figure


def draw(
    drawn: Drawn,
    spec: dict[str, Any],
    section: str,
    out: Path,
    name: str,
    formats: Collection[str],
    *,
    is_linked: bool,
) -> tuple[Figure, list[Path]]:
    """Saves the figure as SVG and in these formats, and what it draws as CSV: the figure of the page, and the paths."""
    folder = out / "figures"
    folder.mkdir(exist_ok=True)
    written = save_spec(spec, folder, name, [form for form in formats if form != "html"])
    svg = written[0].read_text(encoding="utf-8")
    written.append(write(folder / f"{name}.csv", drawn.summary.write_csv()))
    files = tuple(path.relative_to(out).as_posix() for path in written) if is_linked else ()
    return Figure(section=section, caption=f"{drawn.title}: {drawn.place}", svg=svg, files=files), written


def file_name(kind: str, place: str, used: set[str]) -> str:
    """A file name that no file system objects to, unlike those in `used`, to which it is added."""
    stem = f"{kind}-" + re.sub(r"[^A-Za-z0-9.=]+", "_", place).strip("_.")[:100]
    name, number = stem, 2
    while name.lower() in used:
        name, number = f"{stem}-{number}", number + 1
    used.add(name.lower())
    return name


def write(path: Path, text: str) -> Path:
    """Writes the text with the same line ends everywhere; returns the path."""
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
