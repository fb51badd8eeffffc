"""Charts as one interactive page that works offline: pan, zoom and labels under the pointer."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from analysis.figures.style.chart_style import GREY, QUIET, RIM
from analysis.tables.forms.html import templates
from bench.lazy import vl_convert

Spec = dict[str, Any]
DIGITS = 6  # of numbers in the page

_DARK_INK, _DARK_LINE = "#e8e8e8", "#4a4e57"
# How charts look in the dark, beside the colours that are replaced wherever a specification has them.
DARK_CONFIG: Spec = {
    "background": "transparent",
    **{name: {"labelColor": _DARK_INK, "titleColor": _DARK_INK} for name in ("legend", "header")},
    "axis": {"labelColor": _DARK_INK, "titleColor": _DARK_INK, "domainColor": _DARK_LINE, "tickColor": _DARK_LINE,
             "gridColor": "#32363e"},
    "title": {"color": _DARK_INK, "subtitleColor": "#b4bac3"},
    "view": {"stroke": _DARK_LINE},
}  # fmt: skip
DARK_COLOURS: dict[str, str] = {
    RIM: "#15171b", GREY: "#b4bac3", QUIET: "#3b4049",
    "#e5e5e5": "#32363e", "#cccccc": _DARK_LINE, "#000000": "#f4f4f4",
    "#0072B2": "#3d95c9", '"background":"white"': '"background":"transparent"',
}  # fmt: skip


def interactive_page(
    charts: Sequence[tuple[str, Spec]], *, title: str, explored: Sequence[tuple[str, Spec]] = ()
) -> str:
    """One HTML page of all charts, each a caption and a specification; it loads nothing.

    explored: those with controls of their own, which come first, drawn as they are; in others, panels with two scales
    pan and zoom. The libraries, 0.9 MB, are in the page once. The page is light or dark as the browser is.
    """
    parts = [*explored, *((caption, zoomable(spec)) for caption, spec in charts)]
    return (
        templates()
        .get_template("charts.html")
        .render(
            title=title,
            captions=[caption for caption, _ in parts],
            num_explored=len(explored),
            libraries=_libraries(),
            specs=_in_a_script([_rounded(_without_unused(spec)) for _, spec in parts]),
            dark=_in_a_script({"config": DARK_CONFIG, "colours": DARK_COLOURS}),
        )
    )


def _without_unused(spec: Spec) -> Spec:
    """The specification, whose rows of data have only columns that it names anywhere: most of a row is labels."""
    rest = {name: value for name, value in spec.items() if name != "datasets"}
    words = set(re.findall(r"\w+", json.dumps(rest)))
    sets = {
        name: [{column: value for column, value in row.items() if words.issuperset(re.findall(r"\w+", column))}
               for row in rows]
        for name, rows in spec.get("datasets", {}).items()
    }  # fmt: skip
    return {**rest, **({"datasets": sets} if sets else {})}


def _rounded(plain: Any) -> Any:
    """The specification with numbers of DIGITS digits: further ones are never seen, and weigh."""
    if isinstance(plain, dict):
        return {name: _rounded(value) for name, value in plain.items()}
    if isinstance(plain, list):
        return [_rounded(value) for value in plain]
    return float(f"{plain:.{DIGITS}g}") if isinstance(plain, float) else plain


def _in_a_script(plain: Any) -> str:
    """JSON that may stand inside <script>: names such as `</script>` occur."""
    return json.dumps(plain, separators=(",", ":")).replace("<", "\\u003c")


@functools.cache
def _libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, 0.9 MB.

    Bundling takes about as long as drawing a report's figures, so the script is kept in the user's cache folder, under
    the version of vl_convert, whose libraries they are; made anew where no such folder can be used.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "bench"
    kept = folder / f"vega-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return kept.read_text(encoding="utf-8")
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, suffix=".tmp", delete=False) as file:
            file.write(script)
        os.replace(file.name, kept)  # whole or not at all, whoever else writes it
    return script


def zoomable(spec: Spec) -> Spec:
    """The specification, changed in place, so that every panel whose axes are both numbers pans and zooms."""
    for place, panel in enumerate(_panels(spec)):
        units = panel.get("layer", [panel])
        drawn = [unit for unit in units if _is_number(unit, "x") and _is_number(unit, "y")]
        if drawn:
            drawn[0]["params"] = [{"name": f"zoom{place}", "select": "interval", "bind": "scales"}]
    return spec


def _panels(spec: Spec) -> Iterator[Spec]:
    """The views of a specification that have axes of their own."""
    joined = [name for name in ("concat", "hconcat", "vconcat") if name in spec]
    if not joined:
        yield spec
    for name in joined:
        for part in spec[name]:
            yield from _panels(part)


def _is_number(unit: Spec, channel: str) -> bool:
    return unit.get("encoding", {}).get(channel, {}).get("type") == "quantitative"
