"""Tables of one frame in the forms that a command offers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from analysis.labels import Names
from analysis.tables.forms.table import Group
from bench.cli.shared import say
from bench.lazy import polars


def print_group(group: Group, frame: polars.DataFrame, *, names: Names, form: str, is_wide: bool) -> None:
    """The tables on stdout, or the frame that they show; how to read them on stderr or below.

    names: what tables call methods and workloads.
    """
    from analysis.tables.forms.frames import without_the_same
    from analysis.tables.forms.markdown import table_markdown
    from analysis.tables.forms.named import named_group
    from bench.cli.terminal import table_text

    group = named_group(group, names)
    forms = {
        "table": lambda: "\n".join(table_text(without_the_same(table), is_wide=is_wide) for table in group.tables),
        "csv": frame.write_csv,
        "json": lambda: json.dumps(list(map(_plain, frame.to_dicts())), indent=1, allow_nan=False) + "\n",
        "md": lambda: "\n".join([*map(table_markdown, group.tables), group.note, ""]),
    }
    print(forms[form](), end="")
    if form == "table":
        say(group.note)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON can carry it: infinite knobs, such as grad_clip where nothing is clipped, as text."""
    return {name: str(value) if value in (math.inf, -math.inf) else value for name, value in row.items()}
