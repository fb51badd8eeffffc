"""What travels with a job: this program's packages, the suite file, small data beside it, and the user's own entries.

Files of own entries only with --allow-code; the cluster's image has what they need (torch, MLflow, plug-ins, ...).
"""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import analysis
import bench
import suites
from bench.entry import data_paths, load_class
from bench.errors import UsageError
from bench.suite.own_code import own_files
from bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from bench.suite import Suite

MAX_DATA_BYTES = 32 * 2**20  # of data that travel with a job; Ray takes packages of 100 MiB
SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", "results")


def shipped(suite: Suite, path: Path, *, allow_code: bool, beside: Sequence[Path] = ()) -> dict[str, int]:
    """What `submit` would send, by path in the job's folder: its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        stage(suite, path, Path(folder), allow_code=allow_code, beside=beside)
        files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
        return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


def stage_packages(folder: Path) -> None:
    """Copy this program's own packages into the working directory of a job."""
    for package in (bench, analysis, suites):
        source = Path(package.__path__[0])
        shutil.copytree(source, folder / source.name, ignore=SKIPPED)


def stage(suite: Suite, path: Path, folder: Path, *, allow_code: bool, beside: Sequence[Path] = ()) -> None:
    """Fill the working directory of a job that trains a suite. beside: further files, by their names there."""
    stage_packages(folder)
    if (folder / path.name).exists():
        raise UsageError(f"{path}: a suite file can't be named like a package of this program")
    shutil.copy(path, folder / path.name)
    for file in beside:
        if (folder / file.name).exists():
            raise UsageError(f"{file}: a file that is sent along can't be named like another one in the job's folder")
        shutil.copy(file, folder / file.name)
    for name, source in _data(suite).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _copy(source, folder / name)
    if allow_code:
        for name in sorted(_user_modules(suite)):
            source = _source(name)
            if source is not None and not (folder / source.name).exists():
                _copy(source, folder / source.name)


def _copy(source: Path, target: Path) -> None:
    """A file, or a folder without what is hidden (.env, .git), compiled, or a link: what links point to stays here."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=_private)
    else:
        shutil.copy(source, target)


def _private(folder: str, names: list[str]) -> set[str]:
    left = {name for name in names if name.startswith(".") or (Path(folder) / name).is_symlink()}
    return left | SKIPPED(folder, names)


def _data(suite: Suite) -> dict[str, Path]:
    """Files and folders beside the suite that its workloads name, by the paths there; large ones are left out."""
    files: dict[str, Path] = {}
    for choice in suite.entries["workloads"]:
        entry_class = load_class(WORKLOADS.get(choice.name, choice.name))
        for path in data_paths(entry_class, choice.params).values():
            source = Path(choice.folder) / path
            if choice.folder and source.exists() and _num_bytes(source) <= MAX_DATA_BYTES:
                files[path] = source
    return files


def _num_bytes(source: Path) -> int:
    files = source.rglob("*") if source.is_dir() else [source]
    return sum(file.stat().st_size for file in files if file.is_file())


def _user_modules(suite: Suite) -> set[str]:
    """Top-level modules of the suite's `package.module:Class` entries, and of what their files import of the user's."""
    names = {choice.name for choice in suite.own_entries.values()}
    modules = {module for name in names for module in (name.partition(":")[0], *own_files(load_class(name)))}
    return {module.partition(".")[0] for module in modules}


def _source(module: str) -> Path | None:
    """File or folder of a user's module; None for what is installed, as the cluster must have it too."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    source = Path(spec.origin)
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")]
    if any(source.resolve().is_relative_to(one) for one in installed):
        return None
    return source.parent if source.name == "__init__.py" else source
