"""Learning rates and other knobs of results in one spelling: 0.0003 and 0.00030000000000000003 are one value."""

from __future__ import annotations

from bench.lazy import polars as pl
from bench.spelling import one_spelling
from bench.trial import KNOB_NAMES


def with_one_spelling(*frames: pl.DataFrame) -> tuple[pl.DataFrame, ...]:
    """The frames, in which knobs that are equal to within 1e-6 are equal, within each and between them.

    Of the columns KNOB_NAMES, where a frame has them. A frame in which nothing changes is returned itself.
    """
    results = list(frames)
    for name in KNOB_NAMES:
        having = [place for place, frame in enumerate(results) if name in frame.columns]
        values = {value for place in having for value in results[place][name].drop_nulls().unique()}
        changed = {value: spelled for value, spelled in one_spelling(values).items() if value != spelled}
        for place in having if changed else ():
            if results[place][name].is_in(list(changed)).any():
                results[place] = results[place].with_columns(pl.col(name).replace(changed))
    return tuple(results)
