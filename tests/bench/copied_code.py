"""A copy of the program with some lines more: what adding to it takes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bench

ROOT = Path(bench.__file__).parents[1]


def run_changed(folder: Path, lines: Iterable[tuple[str, str, str]], program: str) -> Any:
    """What a program that prints JSON prints in a copy of the code, made in `folder`.

    lines: file, a text that it has once, and the text that comes after it.
    """
    for name in ("bench", "analysis", "suites"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    add_lines(folder, lines)
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def add_lines(folder: Path, lines: Iterable[tuple[str, str, str]]) -> None:
    """Adds to files of the copy. lines: as `run_changed` has them; after no text comes what the file ends with."""
    for name, before, after in lines:
        text = (folder / name).read_text()
        assert not before or text.count(before) == 1, name
        (folder / name).write_text(text.replace(before, before + after) if before else text + after)


def ignored(folder: str, names: list[str]) -> set[str]:
    """Caches, and the committed results."""
    return {name for name in names if name == "__pycache__" or Path(folder, name) == ROOT / "suites/results"}
