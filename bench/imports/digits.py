"""Numbers as spreadsheets of several countries write them, as 0.5 and 1000."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_DECIMAL_COMMA = r"^([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)$"
_OF_THOUSANDS = r"^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$"
_WITH_POINT = r"^[+-]?\d*\.\d+([eE][+-]?\d+)?$"
_POINTS_BETWEEN = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?$"
_BOTH = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+,\d+$"  # 1.234,5, which tells what all points of its file are
_SPACES_BETWEEN = r"^[+-]?[1-9]\d{0,2}([ \u00a0\u2009\u202f'\u2019]\d{3})+([.,]\d+)?$"
_SPACES = r"[ \u00a0\u2009\u202f'\u2019]"
_MINUS = r"^\u2212?[\d.,]+([eE]\u2212?\d+)?$"  # a number with the sign that typesetting has


def with_points(series: list[pl.Series], notes: list[str]) -> list[Sequence[str | None]]:
    """The columns with numbers as 0.5 and 1000, as far as the file's other numbers tell what their commas are.

    0,5 is a half, and 1,000 a thousand beside 0.5; of 1.234,5 points are between thousands, if all of the file can be.
    `notes` gets how many numbers were written so.
    """
    series = [one.zip_with(~one.str.contains(_MINUS), one.str.replace_all("\u2212", "-")) for one in series]
    series = _without(series, _SPACES_BETWEEN, _SPACES, "spaces", notes)
    cells = pl.concat([pl.Series(dtype=pl.String), *series])
    with_point = cells.str.contains(_WITH_POINT) | cells.str.contains(_BOTH)
    if cells.str.contains(_BOTH).any() and cells.filter(with_point).str.contains(_POINTS_BETWEEN).all():
        series = _without(series, _POINTS_BETWEEN, r"\.", "points", notes)
        cells = pl.concat([pl.Series(dtype=pl.String), *series])
        with_point = cells.str.contains(_WITH_POINT)
    is_decimal, is_thousands = cells.str.contains(_DECIMAL_COMMA), cells.str.contains(_OF_THOUSANDS)
    if not with_point.any() and (is_decimal & ~is_thousands).any():
        notes.append(f"numbers with a decimal comma: {is_decimal.sum():,}")
        return [one.str.replace(_DECIMAL_COMMA, "$1.$2").to_list() for one in series]
    if with_point.any():
        series = _without(series, _OF_THOUSANDS, ",", "commas", notes)
    return [one.to_list() for one in series]


def _without(series: list[pl.Series], pattern: str, mark: str, words: str, notes: list[str]) -> list[pl.Series]:
    """The columns without marks between the thousands of numbers that are as `pattern`."""
    number = sum(int(one.str.contains(pattern).sum()) for one in series)
    if number:
        notes.append(f"numbers with {words} between thousands: {number:,}")
        series = [one.zip_with(~one.str.contains(pattern), one.str.replace_all(mark, "")) for one in series]
    return series
