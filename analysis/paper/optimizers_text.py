"""Optimizers, their rates by role and what weight decay acted on, as a paragraph of methods says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from analysis.knobs import setting_values
from analysis.paper.entries import constants_of, in_words
from analysis.paper.prose import Text, cited
from bench.entry import load_class, parameters
from bench.optimizers import OPTIMIZERS
from bench.roles import RATES
from bench.trial import EARLIER

# What weight decay acted on, by an optimizer's `decays`.
DECAYED: dict[str, str] = {
    "matrices": "matrices of weights and embeddings, not on gains, biases and what methods learn beside them",
    "all": "every tensor",
    "all_but_embeddings": "every tensor but embeddings",
}


def optimizers_text(results: pl.DataFrame, suite: Mapping[str, Any]) -> Text:
    """Optimizers and schedules with their constants."""
    optimizers, schedules = (results[name].unique().sort().to_list() for name in ("optimizer", "schedule"))
    return [
        "The optimizer was " if len(optimizers) == 1 else "The optimizers were ",
        *cited("optimizer", optimizers, constants_of(suite, "optimizers")),
        ", with the learning-rate schedule " if len(schedules) == 1 else ", with the learning-rate schedules ",
        *cited("schedule", schedules, constants_of(suite, "schedules")),
        ". ",
        *rates_text(results, suite),
    ]


def rates_text(results: pl.DataFrame, suite: Mapping[str, Any]) -> Text:
    """By what the learning rate was multiplied for parameters of which role; nothing where it was for none."""
    by_words: dict[str, list[str]] = {}
    for entry in suite["optimizers"]:
        values = {role: _varied(results, name) or entry.get(name) for role, name in RATES.items()}
        rates = [f"by {in_words(value)} for the role {role}" for role, value in values.items() if value is not None]
        if rates:
            by_words.setdefault(_and(rates), []).append(str(entry["name"]))
    return [
        f"The learning rate of {_and(dict.fromkeys(names))} was multiplied {words}. "
        for words, names in by_words.items()
    ]


def decay_text(results: pl.DataFrame, suite: Mapping[str, Any]) -> str:
    """What weight decay acted on; empty where there was none, and of optimizers that are not ours or have none."""
    ours = [entry for entry in suite["optimizers"] if entry["name"] in OPTIMIZERS]
    decaying = [entry for entry in ours if "decays" in parameters(load_class(OPTIMIZERS[entry["name"]]))]
    if not decaying or not (results["weight_decay"] != 0).any():
        return ""
    acted_on = dict.fromkeys(
        DECAYED[policy] + _exempt(entry)
        for entry in decaying
        for policy in _varied(results, "decays") or [entry["decays"] if "decays" in entry else EARLIER["decays"]]
    )
    return f"Weight decay acted on {' or on '.join(acted_on)}. "


def _varied(results: pl.DataFrame, name: str) -> list[Any]:
    """The values of an optimizer's parameter that is a knob of the results; none of another."""
    of_knobs = setting_values(results)
    return next((of_knobs[key] for key in (name, f"optimizer.{name}") if key in of_knobs), [])


def _exempt(entry: Mapping[str, Any]) -> str:
    roles = entry.get("no_decay")
    return f", and not on parameters of the role {_and(roles)}" if roles else ""


def _and(parts: Iterable[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last
