"""What users read when a suite is wrong: one line a problem, with its place, what was required and what was got."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from bench.errors import UsageError, did_you_mean
from bench.suite.file import Document, Loc

MAX_PROBLEMS = 10
MAX_OPTIONS = 12  # named where none is near
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
OURS = "suite"  # the type of a problem whose message is complete

# Pydantic's error types in the words of a suite file; its own message serves for the others.
REQUIRED = {
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "string_type": "must be text",
    "string_pattern_mismatch": "must be letters, digits and _ - . only, a letter or digit first",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "multiple_of": "must be a whole number",
    "too_short": "must not be empty",
}


def problem(message: str, *, value: Any = None, loc: Loc = (), at_key: bool = False, same_as: int | None = None) -> Any:
    """A problem at `loc`, relative to the validated field; `same_as` is the index that this one repeats."""
    return InitErrorDetails(
        type=PydanticCustomError(OURS, "{message}", {"message": message, "at_key": at_key, "same_as": same_as}),
        loc=loc,
        input=value,
    )


def reject(*problems: InitErrorDetails) -> NoReturn:
    """Raises the problems from inside a validator; pydantic puts the field's place before theirs."""
    raise ValidationError.from_exception_data("suite", list(problems))


def relocated(details: Any, key: str) -> InitErrorDetails:
    """A problem of what is at `key`, as one of what holds it."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == OURS:
        return problem(
            context["message"], value=details["input"], loc=(key, *details["loc"]), same_as=context["same_as"]
        )
    return InitErrorDetails(type=kind, loc=(key, *details["loc"]), input=details["input"], ctx=context)


def explain(
    error: ValidationError, fields_at: Sequence[Iterable[str]], document: Document | None, *, of: str = "Suite"
) -> UsageError:
    """The error that a user sees. fields_at: the keys that exist at each depth. of: what has no document."""
    placed: list[tuple[tuple[bool, int, int], str]] = []
    for details in error.errors(include_url=False):
        if details["type"] == "too_short" and details["input"]:
            continue  # pydantic does not count items that are wrong; they have lines of their own
        loc, message = details["loc"], _message(details, fields_at, document)
        if document is None:
            line, column, place = 0, 0, f"{of}: {dotted(loc)}" if loc else of
        else:
            at_key = details["type"] == "extra_forbidden" or details.get("ctx", {}).get("at_key", False)
            line, column = document.position(loc, at_key=at_key)
            place = f"{document.file_name}:{line}:{column}"
        # What is missing comes last: a misspelt key, which explains it, should be read first.
        placed.append(((details["type"] == "missing", line, column), f"{place}: {message}"))
    lines = list(dict.fromkeys(text for _, text in sorted(placed, key=lambda pair: pair[0])))
    if len(lines) > MAX_PROBLEMS:
        lines[MAX_PROBLEMS:] = [f"and {len(lines) - MAX_PROBLEMS} more problems"]
    return UsageError("\n".join(lines))


def suggest(got: str, options: Iterable[str], *, existing: str) -> str:
    """`did you mean ...?` if an option is near, else the options after the words `existing`."""
    names = list(options)
    near = did_you_mean(got.lower().replace("-", "_").replace(" ", "_"), names)
    if near:
        return near.removeprefix("; ")
    more = f" and {len(names) - MAX_OPTIONS} more (bench list)" if len(names) > MAX_OPTIONS else ""
    return f"{existing}: {', '.join(names[:MAX_OPTIONS]) if names else 'none'}{more}"


def dotted(loc: Loc) -> str:
    """("methods", 1, "width") as methods[1].width."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{show_key(part)}" for part in loc)
    return text.removeprefix(".")


def show(value: Any) -> str:
    """A value as it would stand in a suite file, short and on one line."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    if not isinstance(value, (str, int, float)):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to write one of over 4,300 digits
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}"


def show_key(key: str) -> str:
    return key if key.isidentifier() and len(key) <= 60 else show(key)


def _message(details: ErrorDetails, fields_at: Sequence[Iterable[str]], document: Document | None) -> str:
    kind, loc, ctx = details["type"], details["loc"], details.get("ctx", {})
    lone = document is not None and kind != "missing" and loc not in document.values and loc[-1:] == (0,)
    subject = dotted(_subject(loc[:-1] if lone else loc))  # `lr: 0` is validated as [0]
    if kind == OURS:
        same_as = ctx["same_as"]
        if same_as is None:
            return ctx["message"]
        other = (*loc[:-1], same_as)
        where = dotted(other) if document is None else f"line {document.position(other, at_key=False)[0]}"
        return f"{ctx['message']} ({where})"
    if kind == "missing":
        return f"{subject} is required"
    if kind == "extra_forbidden":
        return f"unknown key {show(loc[-1])}; {suggest(str(loc[-1]), fields_at[len(loc) - 1], existing='known keys')}"
    required = REQUIRED.get(kind) or re.sub(r"^\w+ should", "must", details["msg"]).replace(" after validation", "")
    if kind == "int_type" and isinstance(details["input"], float):
        required += " written without a point"
    message = f"{subject} {required}, got {show(details['input'])}{_of_quotes(kind, details['input'])}"
    if kind == "literal_error" and isinstance(details["input"], str):
        options = [option.strip("'") for option in ctx["expected"].replace(" or ", ", ").split(", ")]
        near = suggest(details["input"], options, existing="")
        message += f"; {near}" if near.startswith("did") else ""
    return message


def _of_quotes(kind: str, value: Any) -> str:
    """What to do about a number in quotes, and about text without them; "" where neither is it."""
    if kind in ("int_type", "float_type") and isinstance(value, str) and re.fullmatch(_NUMBER, value):
        return "; leave out the quotes"
    return "; write it in quotes" if kind == "string_type" and isinstance(value, int | float) else ""


def _subject(loc: Loc) -> Loc:
    """The last name in a place, with the indices after it."""
    names = [index for index, part in enumerate(loc) if isinstance(part, str)]
    return loc[names[-1] :] if names else loc
