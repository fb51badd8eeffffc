"""Frames as CSV, in which no text is a formula to a spreadsheet. JSON has the texts as they are."""

from __future__ import annotations

import polars as pl

_IS_FORMULA = r"^[=+\-@\t\r]"
_IS_NUMBER = r"^[+-]?(inf|nan|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)$"


def csv_text(frame: pl.DataFrame) -> str:
    """The frame as CSV. A text that begins with = + - @, a tab or a carriage return gets ' before it, as OWASP has it.

    Numbers stay numbers, negative ones too, also where they are text. `bench import` takes the ' off again.
    Source: OWASP, CSV Injection.
    """
    texts = pl.col(pl.String)
    is_formula = texts.str.contains(_IS_FORMULA) & ~texts.str.contains(_IS_NUMBER)
    return frame.with_columns(pl.when(is_formula).then(pl.lit("'") + texts).otherwise(texts).name.keep()).write_csv()
