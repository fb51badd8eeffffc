"""Short names of methods and workloads, as a suite's `labels` give them, in plain text and in LaTeX.

What people read has them: tables, figures, pages, LaTeX. Data for programs (CSV, JSON, frames) keep the names that
suites use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from analysis.formula import FORMULA, plain_label
from analysis.text import entry_name, marked_math

IMPORT = "(imported="  # in the label of a method of an import that stood in company
NAMED_COLUMNS = ("workload", "method", "control_of", "first", "second")  # of frames: what labels can name


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names by what they stand for; what is not among them stays as it is."""

    of: Mapping[str, str]

    def in_text(self, text: str) -> str:
        """The text, in which whole words that have a name are called by it; a variant's parameters stay behind it."""
        return self._pattern.sub(lambda match: self.of[match[0]], text) if self.of else text

    def in_texts(self, texts: Iterable[str]) -> list[str]:
        """Each of the texts, as `in_text`."""
        return [self.in_text(text) for text in texts]

    def in_frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame, in whose NAMED_COLUMNS what has a name is called by it."""
        named = [name for name in NAMED_COLUMNS if name in frame.columns and frame[name].dtype == pl.String]
        if not self.of or not named:
            return frame
        values = {value for name in named for value in frame[name].drop_nulls().unique()}
        called = {value: self.in_text(value) for value in values}
        return frame.with_columns(pl.col(name).replace(called) for name in named)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = "|".join(re.escape(name) for name in sorted(self.of, key=len, reverse=True))
        return re.compile(rf"(?<![\w:/.-])(?:{longest_first})(?![\w:/-]|\.\w)")


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels in LaTeX by the names in a suite; `plain` for all that is no LaTeX, `latex` for what will be escaped."""

    of: Mapping[str, str] = field(default_factory=dict)

    def over(self, frame: pl.DataFrame) -> Labels:
        """These labels; of an entry that is the only one of its name in the frame, with its parameters, too.

        Where `window_softmax(width=4)` is the only window_softmax, its label stands for all of that. Where all methods
        are of one import, `softmax(imported=NAME)` is called as softmax is: no other stands beside it.
        """
        imported = _without_import(frame["method"].unique())
        if not self.of:
            return Labels(of=imported)
        present = {label for name in ("workload", "method") for label in frame[name].unique()}
        alike = {name: [label for label in present if entry_name(label) == name] for name in self.of}
        alone = {labels[0]: self.of[name] for name, labels in alike.items() if len(labels) == 1}
        alone = {label: of for label, of in alone.items() if IMPORT not in label}
        return Labels(of={**{label: self.of.get(name, name) for label, name in imported.items()}, **alone, **self.of})

    @cached_property
    def plain(self) -> Names:
        """Without markup."""
        return Names(of={name: plain_label(label) for name, label in self.of.items()})

    @cached_property
    def latex(self) -> Names:
        """With formulas that `analysis.text.escape_latex` lets through."""
        marked = {name: FORMULA.sub(lambda match: marked_math(match[1]), label) for name, label in self.of.items()}
        return Names(of=marked)

    def in_form(self, forms: Mapping[str, Callable[[pl.DataFrame], str]], form: str, frame: pl.DataFrame) -> str:
        """The frame in one of the forms; those that people read call methods and workloads by their labels."""
        names = {"latex": self.latex, "markdown": self.plain, "html": self.plain}
        return forms[form](names[form].in_frame(frame) if form in names else frame)


NO_LABELS = Labels()


def _without_import(methods: Iterable[str]) -> dict[str, str]:
    """Names without `(imported=NAME)` by method, where one of that ends all of them; else {}."""
    parts = {method: method.partition(IMPORT) for method in methods}
    if len({mark + name for _, mark, name in parts.values()}) != 1 or not all(mark for _, mark, _ in parts.values()):
        return {}
    return {method: name for method, (name, _, _) in parts.items() if _is_plain(name)}


def _is_plain(name: str) -> bool:
    try:
        return plain_label(name) == name
    except ValueError:
        return False


def labels_in(manifest: str | None) -> Labels:
    """The labels of the suite in the text of a manifest; none where it has none, or some that can't be shown."""
    suite = json.loads(manifest or "{}").get("suite")
    of = suite.get("labels") if isinstance(suite, Mapping) else None
    if not isinstance(of, Mapping):
        return NO_LABELS
    try:
        return Labels(of={name: label for name, label in of.items() if plain_label(str(label))})
    except ValueError:
        return NO_LABELS


def merged(every: Iterable[Labels]) -> Labels:
    """The labels of several subjects; of one name the first. Imports of one stand beside what others call the same."""
    of: dict[str, str] = {}
    for labels in every:
        of = {**{name: label for name, label in labels.of.items() if IMPORT not in name}, **of}
    return Labels(of=of)
