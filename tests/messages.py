"""Every message of an error for a user, read from the code by ast: where it is made, and the words that it has there.

A message is the first argument of a call that makes such an error: `UsageError` and its kin, `problem` of a suite's
file, and in the rooms of entries `ValueError`, which a suite's message hands on. A name or a call in it stands for
the words of what it was assigned or may return, here or in the module that it comes from. What has no words in our
code (a file's name, a number, a system's reason) is "…".
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ERRORS = {"UsageError", "StoreError", "FullStoreError", "BudgetError", "NotTextError", "AlreadyMadeError"}
MAKERS = ERRORS | {"store_error", "problem", "unknown"}
VALUES = {"show", "shown", "printable", "counted", "reason", "repr"}  # functions that give what is put in
ENTRIES = ("methods", "optimizers", "workloads", "models", "probes", "interventions", "search")
UNKNOWN = "…"
DEEPEST = 4  # names that stand for names


@dataclass(frozen=True)
class Message:
    """place: file and line; words: what it says, with … for what is put in."""

    place: str
    words: str


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def messages(rooms: tuple[str, ...] = ("bench", "analysis")) -> Iterator[Message]:
    """Every message of the rooms' code."""
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield from messages_of(path)


def messages_of(path: Path) -> Iterator[Message]:
    """Every message that the code of a file makes."""
    is_ours = path.is_relative_to(ROOT)
    of_entry = is_ours and path.relative_to(ROOT).parts[1] in ENTRIES
    makers = MAKERS | {"ValueError"} if of_entry else MAKERS
    text = path.read_text(encoding="utf-8")
    for scope in [_tree(path), *_functions(_tree(path))] if any(f"{name}(" in text for name in makers) else []:
        for node in _within(scope):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers and node.args:
                words = "unknown … (there are …)" if node.func.id == "unknown" else _words(node.args[0], scope, path)
                yield Message(f"{path.relative_to(ROOT) if is_ours else path}:{node.lineno}", " ".join(words.split()))


def _functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _within(scope: ast.AST) -> Iterator[ast.AST]:
    """What stands in a module or function, but in no function of its own."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef):
            yield child
            yield from _within(child)


def _words(node: ast.AST | None, scope: ast.AST, path: Path, depth: int = 0) -> str:
    def of(inner: ast.AST | None) -> str:
        return _words(inner, scope, path, depth)

    match node:
        case ast.Constant(str() as text):
            return text
        case ast.JoinedStr(values) | ast.BoolOp(_, values):
            return (" " if isinstance(node, ast.BoolOp) else "").join(map(of, values))
        case ast.FormattedValue(value) | ast.Starred(value) | ast.NamedExpr(_, value):
            return of(value)
        case ast.BinOp(left, ast.Add(), right):
            return of(left) + of(right)
        case ast.IfExp(_, body, otherwise):
            return f"{of(body)} {of(otherwise)}"
        case ast.List(parts) | ast.Tuple(parts):
            return " ".join(map(of, parts))
        case ast.ListComp(part) | ast.GeneratorExp(part):
            return of(part)
        case ast.Call(ast.Attribute(value, "join"), [joined]):
            return f"{of(joined)} {of(value)}"
        case ast.Call(ast.Attribute(value, "format" | "removeprefix" | "rstrip")):
            return of(value)
        case ast.Name(name) | ast.Call(ast.Name(name)) if depth < DEEPEST and name not in VALUES:
            return _meaning(name, isinstance(node, ast.Call), scope, path, depth + 1)
    return UNKNOWN


def _meaning(name: str, is_call: bool, scope: ast.AST, path: Path, depth: int) -> str:
    """The words of all that a name was assigned, or that a function of that name returns."""
    defined = _defined(path)
    if is_call and name in defined:
        returned = [node.value for node in _within(defined[name]) if isinstance(node, ast.Return)]
        return " ".join(_words(value, defined[name], path, depth) for value in returned)
    for where in () if is_call else (scope, _tree(path)):
        if given := list(_assigned(where, name)):
            return " ".join(_words(value, where, path, depth) for value in given)
    for node in _tree(path).body:
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            source = ROOT / f"{(node.module or '').replace('.', '/')}.py"
            return _meaning(name, is_call, _tree(source), source, depth) if source.is_file() else UNKNOWN
    return UNKNOWN


@functools.cache
def _defined(path: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in _functions(_tree(path))}


def _assigned(scope: ast.AST, name: str) -> Iterator[ast.AST]:
    for node in _within(scope):
        match node:
            case ast.Assign([ast.Name(to)], value) | ast.AnnAssign(ast.Name(to), _, ast.expr() as value) if to == name:
                yield value
            case ast.AugAssign(ast.Name(to), _, value) | ast.NamedExpr(ast.Name(to), value) if to == name:
                yield value
            case ast.Assign([ast.Tuple(parts)], ast.Tuple(values)):
                yield from (
                    value
                    for part, value in zip(parts, values, strict=False)
                    if isinstance(part, ast.Name) and part.id == name
                )
