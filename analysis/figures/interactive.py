"""Charts as one interactive page that works offline: pan, zoom and labels under the pointer."""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Iterator, Sequence
from typing import Any

from bench.lazy import vl_convert

Spec = dict[str, Any]

_STYLE = """
:root { color-scheme: light; }
body { margin: 0; padding: 1rem; background: #ffffff; color: #1a1a1a; font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 0.5rem; overflow-wrap: anywhere; }
p { color: #555b63; font-size: 0.9rem; margin: 0 0 1rem; }
figure { margin: 0 0 2rem; overflow-x: auto; }
"""


def interactive_page(charts: Sequence[tuple[str, Spec]], *, title: str) -> str:
    """One HTML page of all charts, each a caption and a specification; it loads nothing.

    Panels with two scales pan and zoom. The libraries, 0.9 MB, are in the page once.
    """
    specs = [zoomable(spec) for _, spec in charts]
    figures = "\n".join(
        f'<figure id="chart-{place}" role="img" aria-label="{html.escape(caption)}"></figure>'
        for place, (caption, _) in enumerate(charts)
    )
    # JSON that may stand inside <script>: names such as `</script>` occur.
    text = json.dumps(specs).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
<script>{_libraries()}</script>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p>Drag to pan, scroll to zoom, double-click to go back; point at a mark to read it.</p>
{figures}
<script>
const specs = {text};
specs.forEach((spec, place) => vegaEmbed(`#chart-${{place}}`, spec, {{actions: false, renderer: "svg"}}));
</script>
</body>
</html>
"""


@functools.cache
def _libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; bundling takes two seconds, so once a process."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


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
