"""Work on a frame that is done once, however many tables and figures ask for it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from bench.lazy import polars as pl

P = ParamSpec("P")
T = TypeVar("T")


def once_a_frame(function: Callable[Concatenate[pl.DataFrame, P], T]) -> Callable[Concatenate[pl.DataFrame, P], T]:
    """The function with its answer for a frame and further arguments kept as long as that frame lives.

    For pure functions whose answer is not the frame itself. Frames are told apart by identity, so no frame may be
    changed in place; nor may an answer.
    """
    answers: dict[tuple[Any, ...], T] = {}

    @functools.wraps(function)
    def remembered(frame: pl.DataFrame, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (id(frame), *args, *kwargs.items())
        if key not in answers:
            answers[key] = function(frame, *args, **kwargs)
            weakref.finalize(frame, answers.pop, key, None).atexit = False
        return answers[key]

    return remembered
