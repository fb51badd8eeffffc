"""Tables as HTML, and the templates that pages and whole documents are made with; those of HTML escape, once."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.scores.flags import word_of
from analysis.tables.forms.table import Drawing, Flags, Group, Table

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_FOLDER = Path(__file__).parents[2] / "templates"


def group_html(group: Group) -> str:
    """A fragment: the tables, then how to read them."""
    return part("group", group)


def tables_html(tables: Iterable[Table], note: str, terms: Iterable[tuple[str, str]]) -> str:
    """A fragment: the tables, how to read them, and words with what they mean."""
    return part("tables", tables, note, list(terms))


def part(name: str, *arguments: Any) -> str:
    """What a macro of parts.html makes of the arguments."""
    return str(getattr(templates().get_template("parts.html").module, name)(*arguments))


@functools.cache
def templates() -> Environment:
    """The templates of the folder templates/; those of HTML escape all that is not markup already, others nothing."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"breakable": _breakable, "word_of": word_of}
    for name, kind in (("flags", Flags), ("drawing", Drawing)):
        environment.tests[name] = functools.partial(_is_of, kind)
    return environment


def _is_of(kind: type, cell: object) -> bool:
    return isinstance(cell, kind)


def _breakable(text: str) -> Markup:
    """Escaped; a line may break after an underscore or comma, and before parameters."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_,])(?=\w)|(?<=\w)(?=\()", r"\1<wbr>", str(escape(text))))
