"""What sentences are made of, text, citations, formulas, lists of values, and how they are written: LaTeX, Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from analysis.knobs import knob_text
from analysis.labels import Names
from analysis.paper.bibliography import Keys, keys_of
from analysis.text import breakable_latex, counted, entry_name, escape_markdown, lr_text

_MOST_VALUES = 24  # of a grid that is written out


@dataclass(frozen=True, kw_only=True)
class Cite:
    """Citations of these keys."""

    keys: Keys


@dataclass(frozen=True, kw_only=True)
class Math:
    """A formula in LaTeX."""

    formula: str


Text = list[str | Cite | Math]


def cited(kind: str, labels: Iterable[str], remarks: Mapping[str, str] | None = None) -> Text:
    """The labels with their citations, commas between; `remarks` is said in brackets of what a label names."""
    text: Text = []
    for place, label in enumerate(labels):
        keys, name = keys_of(kind, label), entry_name(label)
        text += [(", " if place else "") + label, *([Cite(keys=keys)] if keys else [])]
        if remarks and name in remarks:
            text.append(f" ({remarks[name]})")
    return text


def listed_lrs(column: pl.Series) -> str:
    """How many learning rates, and which; the ends alone where they are many."""
    return _listed("learning rate", column, lr_text)


def listed_seeds(column: pl.Series) -> str:
    """How many seeds, and which; the ends alone where they are many."""
    return _listed("seed", column, str)


def _listed(noun: str, column: pl.Series, text: Callable[..., str]) -> str:
    values = [text(value) for value in column.unique().sort()]
    which = ", ".join(values) if len(values) <= _MOST_VALUES else f"{values[0]} to {values[-1]}"
    return f"{counted(len(values), noun)} ({which})"


def listed_knob(column: pl.Series) -> str:
    """The knob's name and its values; infinity is off."""
    values: Sequence[float] = column.unique().sort().to_list()
    return f"{column.name} {' or '.join('off' if math.isinf(value) else knob_text(value) for value in values)}"


def named_prose(text: Text, names: Names) -> Text:
    """The text, in whose words what has a name is called by it."""
    return [names.in_text(part) if isinstance(part, str) else part for part in text]


def cited_keys(text: Text) -> list[str]:
    """Keys that the text cites, each once, in the order of their first use."""
    return list(dict.fromkeys(key for part in text if isinstance(part, Cite) for key in part.keys))


def text_latex(text: Text) -> str:
    """LaTeX with \\cite of BibTeX keys."""
    return _written(text, lambda keys: rf"~\cite{{{','.join(keys)}}}", breakable_latex)


def text_markdown(text: Text) -> str:
    """Markdown whose citations Pandoc reads: [@key; @key]."""
    return _written(text, lambda keys: f" [{'; '.join(f'@{key}' for key in keys)}]", escape_markdown)


def _written(text: Text, cite: Callable[[Sequence[str]], str], escape: Callable[[str], str]) -> str:
    parts = []
    for part in text:
        if isinstance(part, Cite):
            parts.append(cite(part.keys))
        else:
            parts.append(f"${part.formula}$" if isinstance(part, Math) else _spaced(part, escape))
    return "".join(parts).strip() + "\n"


def _spaced(part: str, escape: Callable[[str], str]) -> str:
    """Escaped, with the white space around it that the escaping drops."""
    return (" " if part[:1] == " " else "") + escape(part) + (" " if part[-1:] == " " else "")
