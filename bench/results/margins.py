"""The margins beyond the loss at init at which trials of results have blown up."""

from __future__ import annotations

import json
from collections.abc import Mapping

from analysis.blown_up import with_margin
from bench.lazy import polars
from bench.store import Store, read_imports
from bench.trial import BLOWN_UP_MARGIN


def with_margins(
    results: polars.DataFrame, imported: Mapping[str, str], store: Store, name: str, margin: float
) -> polars.DataFrame:
    """The results with the margin beyond which a trial blew up; an import that was given one has its own."""
    records = read_imports(store, name) if imported else {}
    margins = {
        trial_id: records[of_import]["blown_up_margin"]
        for trial_id, of_import in imported.items()
        if "blown_up_margin" in records.get(of_import, {})
    }
    own = polars.col("trial_id").replace_strict(margins, default=margin, return_dtype=polars.Float64)
    return with_margin(results, own if margins else margin)


def margin_of(manifest: str | None) -> float:
    """The margin that the suite of a manifest sets."""
    suite = json.loads(manifest or "{}").get("suite")
    return suite.get("blown_up_margin", BLOWN_UP_MARGIN) if isinstance(suite, dict) else BLOWN_UP_MARGIN
