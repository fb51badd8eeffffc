"""The code of a user's class: its file and every file of the user's that it imports, directly or not, as one digest."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path

from bench.suite.search_path import refuse_namesake

_INSTALLED = {"site-packages", "dist-packages"}


def code_digest(entry_class: type) -> str:
    """SHA-256, in hex, of the source of a class and of the user's modules that its file imports, transitively.

    The user's modules: files below the folder that the class's top-level module or package lies in, but for this
    program and installed libraries other than the class's own package. The current directory does not matter. Of a
    class whose file imports none of them: the SHA-256 of that file alone. Imports are read from the source, not from
    what ran, so that one by a computed name is not seen.

    Raises OSError or TypeError where the source of the class can't be read, UsageError for a module of its folder whose
    name stands for another folder's.
    """
    start = _source_file(entry_class)
    source = start.read_bytes()
    files = own_files(entry_class)
    others = {name: content for name, path in files.items() if path != start and (content := path.read_bytes()).strip()}
    if not others:
        return hashlib.sha256(source).hexdigest()
    digest = hashlib.sha256(source)
    for name, content in sorted(others.items()):
        digest.update(f"\0{name}\0{hashlib.sha256(content).hexdigest()}".encode())
    return digest.hexdigest()


def own_files(entry_class: type) -> dict[str, Path]:
    """The files of the user's modules that `code_digest` reads beside the class's own, by the names of the modules."""
    start = _source_file(entry_class)
    top = start.parents[entry_class.__module__.count(".") + (start.name == "__init__.py")]
    files: dict[str, Path] = {}
    waiting = [(entry_class.__module__, start)]
    while waiting:
        module, path = waiting.pop()
        for name in _imported(module, path):
            refuse_namesake(name, top)
            if name not in files and (file := _own_file(name, entry_class.__module__, top)) is not None:
                files[name] = file
                waiting.append((name, file))
    return files


def _source_file(entry_class: type) -> Path:
    return Path(inspect.getsourcefile(entry_class) or "").resolve()


def _imported(module: str, path: Path) -> set[str]:
    """Names of all modules that a file may import, with the packages around them and around itself."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = {package}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            outer = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            of = ".".join([*filter(None, outer), *([node.module] if node.module else [])])
            names |= {of, *(f"{of}.{alias.name}" for alias in node.names)}
    parts = [name.split(".") for name in names if name]
    return {".".join(of_name[:end]) for of_name in parts for end in range(1, len(of_name) + 1)}


def _own_file(name: str, class_module: str, folder: Path) -> Path | None:
    """The source of a module if it is the user's, else None."""
    top = name.partition(".")[0]
    if top in ("bench", "analysis", "__main__") or top in sys.stdlib_module_names:
        return None
    try:
        # A finder imports the packages around a module: those of libraries are left alone.
        spec = importlib.util.find_spec(name) if name == top or _own_file(top, class_module, folder) else None
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    path = Path(os.path.realpath(spec.origin))
    if not _INSTALLED.isdisjoint(path.parts) and top != class_module.partition(".")[0]:
        return None
    return path if path.is_relative_to(folder) else None
