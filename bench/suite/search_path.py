"""search_in(): folders of a user's code come before all else, unless a file there would be imported as a library."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from bench.errors import UsageError

PROGRAM = Path(__file__).resolve().parents[2]
# What this program imports beside Python's own modules, by its first names.
LIBRARIES = frozenset([
    "altair", "annotated_types", "bench", "analysis", "suites", "fontTools", "google", "jinja2", "matplotlib", "mlflow",
    "numpy", "optuna", "pandas", "polars", "psutil", "pyarrow", "pydantic", "ray", "rich", "ruamel", "scipy", "sklearn",
    "sqlalchemy", "sympy", "torch", "typer", "typing_extensions", "vl_convert", "yaml",
])  # fmt: skip
_IDLE = frozenset(["antigravity", "test", "this", "turtle", "turtledemo"])  # of Python, and imported by nothing


def search_in(folders: list[Path]) -> None:
    """Put folders before what Python searches, the last one first.

    Raises UsageError for a file or package in one of them that would take the place of a module of Python or of a
    library that this program imports.
    """
    for folder in folders:
        if sys.path[:1] == [str(folder)] or ("" in sys.path and folder == Path.cwd()):
            continue
        if str(folder) not in sys.path:
            _refuse_shadows(folder)
        sys.path[:] = [str(folder), *(path for path in sys.path if path != str(folder))]
        importlib.invalidate_caches()


def refuse_namesake(module: str, folder: Path) -> None:
    """Raises UsageError where a folder has a module of the name, and it was imported from another folder."""
    held = getattr(sys.modules.get(module), "__file__", None)
    place = folder.joinpath(*module.split("."))
    files = [one for one in (place / "__init__.py", place.with_suffix(".py")) if one.is_file()]
    if held is not None and files and os.path.realpath(held) not in map(os.path.realpath, files):
        raise UsageError(
            f"{files[0]}: a module of the name {module} is imported from {held} already; rename one of them, or give "
            "each suite a command of its own"
        )


def _refuse_shadows(folder: Path) -> None:
    if not folder.is_dir() or folder.resolve() == PROGRAM:
        return
    taken = (sys.stdlib_module_names | LIBRARIES) - _IDLE
    modules = [one for one in folder.iterdir() if one.suffix == ".py" or (one / "__init__.py").is_file()]
    shadows = [one for one in modules if one.stem in taken and not one.resolve().is_relative_to(PROGRAM)]
    if shadows:
        names = ", ".join(sorted(one.name for one in shadows))
        raise UsageError(
            f"{folder} has {names}, which would be imported in place of the libraries of these names; rename them, or "
            "keep suites and their code in a folder of their own"
        )


def as_target(name: str) -> str:
    """A name as `module:Class` where it was meant as a path, such as ./my_attention.py:Cauchy; "" where it was not."""
    file, colon, of = name.strip().rpartition(":")
    stem = Path(file).stem if file.endswith(".py") or "/" in file else ""
    return f"{stem}:{of}" if colon and stem.isidentifier() and of.isidentifier() else ""
