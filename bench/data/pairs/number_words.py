"""Whole numbers below a thousand million in English and German words: ENGLISH and GERMAN.

Each language is a table: a number is a column of millions, one of thousands and one of what is left, put one after the
other. A column has two forms of each of its thousand texts, as what stands before or after it decides, so that the
words of a number are three look-ups, in Python as in tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_DIGITS = 9
THOUSAND, MILLION = 10**3, 10**6

# Of a number, an int or a tensor of them: whether a column takes its second form.
Condition = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Language:
    """How a language writes numbers. columns: texts of 0 to 999 in the first form, then in the second; of millions,
    thousands and ones. second: when a column takes its second form."""

    columns: tuple[tuple[str, ...], ...]
    second: tuple[Condition, ...]

    def words(self, number: int) -> str:
        """The words of a number in [0, 10^9)."""
        return "".join(column[row] for column, row in zip(self.columns, self.rows(number), strict=True))

    def rows(self, number: Any) -> tuple[Any, ...]:
        """Which text of each column a number has; of an int or of an int64 tensor."""
        parts = (number // MILLION, number // THOUSAND % THOUSAND, number % THOUSAND)
        return tuple(part + THOUSAND * is_second(number) for part, is_second in zip(parts, self.second, strict=True))

    def longest(self, num_digits: int) -> int:
        """Characters of the longest words of all numbers of at most so many digits."""
        largest = 10**num_digits - 1
        counts = (largest // MILLION + 1, min(largest // THOUSAND, THOUSAND - 1) + 1, min(largest, THOUSAND - 1) + 1)
        total = 0
        for column, is_second, count in zip(self.columns, self.second, counts, strict=True):
            first = THOUSAND * int(is_second(largest))
            total += max(len(text) for text in column[first : first + count])
        return total


def _always_first(number: Any) -> Any:
    return number < 0


def _is_above_thousand(number: Any) -> Any:
    return number >= THOUSAND


def _is_above_million(number: Any) -> Any:
    return number >= MILLION


def _has_rest_below_million(number: Any) -> Any:
    return number % MILLION > 0


_ENGLISH_BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_GERMAN_BELOW_TWENTY = (
    "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn"
)
_GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig"


def _english_below_hundred(number: int) -> str:
    if number < 20:
        return _ENGLISH_BELOW_TWENTY.split()[number]
    tens, ones = divmod(number, 10)
    return _ENGLISH_TENS.split()[tens - 2] + (f"-{_ENGLISH_BELOW_TWENTY.split()[ones]}" if ones else "")


def _english_below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if not hundreds:
        return _english_below_hundred(rest)
    return f"{_ENGLISH_BELOW_TWENTY.split()[hundreds]} hundred" + (
        f" and {_english_below_hundred(rest)}" if rest else ""
    )


def _german_below_hundred(number: int, one: str) -> str:
    """Units stand before tens: vierundzwanzig. one: the ending of a 1 that nothing follows."""
    if number < 20:
        return _GERMAN_BELOW_TWENTY.split()[number] + (one if number == 1 else "")
    tens, ones = divmod(number, 10)
    return (f"{_GERMAN_BELOW_TWENTY.split()[ones]}und" if ones else "") + _GERMAN_TENS.split()[tens - 2]


def _german_below_thousand(number: int, one: str) -> str:
    hundreds, rest = divmod(number, 100)
    if not hundreds:
        return _german_below_hundred(rest, one)
    return f"{_GERMAN_BELOW_TWENTY.split()[hundreds]}hundert" + (_german_below_hundred(rest, one) if rest else "")


def _english() -> Language:
    plain = [_english_below_thousand(number) for number in range(THOUSAND)]
    millions = ["", *(f"{text} million" for text in plain[1:])]
    thousands = ["", *(f"{text} thousand" for text in plain[1:])]
    joined = ["", *(f"{' and ' if number < 100 else ', '}{plain[number]}" for number in range(1, THOUSAND))]
    return Language(
        columns=(
            (*millions, *millions),
            (*thousands, "", *(f", {text}" for text in thousands[1:])),
            (*plain, *joined),
        ),
        second=(_always_first, _is_above_million, _is_above_thousand),
    )


def _german() -> Language:
    """A 1 is eins at the end, ein before tausend, eine before Million(en)."""
    ones = [_german_below_thousand(number, "s") for number in range(THOUSAND)]
    thousands = ["", *(f"{_german_below_thousand(number, '')}tausend" for number in range(1, THOUSAND))]
    millions = ["", "eine Million"]
    millions += [f"{_german_below_thousand(number, 'e')} Millionen" for number in range(2, THOUSAND)]
    return Language(
        columns=(
            (*millions, "", *(f"{text} " for text in millions[1:])),
            (*thousands, *thousands),
            (*ones, "", *ones[1:]),
        ),
        second=(_has_rest_below_million, _always_first, _is_above_thousand),
    )


ENGLISH = _english()
GERMAN = _german()
