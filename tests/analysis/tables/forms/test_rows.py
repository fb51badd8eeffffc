"""Tables of frames: a line a row, a title and a cell a column."""

import polars as pl

from analysis.tables.forms.rows import fixed, flags, label, scored, table_of, text


def test_a_line_a_row_and_a_title_a_column():
    frame = pl.DataFrame(
        {
            "method": ["a", "b"],
            "optimizer": ["sgd", ""],
            "knobs": ["", "x=1"],
            "seeds": [2, 3],
            "value": [1.0, None],
            "ci_low": [0.5, None],
            "ci_high": [1.5, None],
            "flags": ["few_seeds,imported", ""],
        }
    )
    table = table_of(
        "h",
        frame,
        ("Entry", label),
        ("Seeds", text("seeds")),
        *scored("Value", "value", "ci", 1),
        ("Digits", fixed("value", None)),
        ("Flags", flags),
        num_names=2,
    )
    assert table.titles == ("Entry", "Seeds", "Value", "95% interval", "Digits", "Flags")
    assert [column.is_name for column in table.columns] == [True, True, False, False, False, False]
    assert table.texts == (
        ("a, sgd", "2", "1.00", "[0.50, 1.50]", "1", "few seeds, imported"),
        ("b, x=1", "3", "–", "–", "–", ""),
    )
