"""The leaderboard page as text: Markdown and HTML bodies, and the whole self-contained HTML page. Writes nothing."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.comparison import comparison_html, comparison_markdown
from analysis.generalisation import HELD_OUT_DEFINITIONS, generalisation_html, generalisation_markdown
from analysis.scores import DEFINITIONS
from analysis.tables import html_table, markdown_table
from analysis.text import escape_markdown


@dataclass(frozen=True, kw_only=True)
class Body:
    """The same page twice; `html` is a fragment without <html> or <body>."""

    markdown: str
    html: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page, twice as in Body, and the words it uses."""

    title: str
    markdown: str
    html: str
    definitions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the page: its caption and its SVG text."""

    caption: str
    svg: str


def leaderboard_body(
    board: pl.DataFrame,
    *,
    title: str,
    provenance: Mapping[str, Any],
    compared: pl.DataFrame | None = None,
    sections: Sequence[Section] = (),
) -> Body:
    """Leaderboard, held-out measures if there are any, comparison with the paper (the frame of `compare`), further
    sections, definitions and provenance.
    """
    markdown = [f"# {escape_markdown(title)}\n", "## Leaderboard\n", markdown_table(board)]
    page = ["<h2>Leaderboard</h2>", html_table(board)]
    definitions = dict(DEFINITIONS)
    generalisation = generalisation_markdown(board)
    if generalisation:
        markdown += ["## Generalisation\n", generalisation]
        page += ["<h2>Generalisation</h2>", generalisation_html(board)]
        definitions |= HELD_OUT_DEFINITIONS
    if compared is not None and compared.height:
        markdown += ["## Compared with the paper\n", comparison_markdown(compared)]
        page += ["<h2>Compared with the paper</h2>", comparison_html(compared)]
    for section in sections:
        markdown += [f"## {escape_markdown(section.title)}\n", section.markdown]
        page += [f"<h2>{html.escape(section.title)}</h2>", section.html]
        definitions |= section.definitions
    markdown += ["## Definitions\n", *(f"- **{escape_markdown(name)}**: {text}" for name, text in definitions.items())]
    markdown += [
        "\n## Provenance\n",
        *(f"- **{escape_markdown(key)}**: {escape_markdown(text)}" for key, text in _plain(provenance)),
    ]
    page += ["<h2>Definitions</h2>", _description_list(definitions.items())]
    page += ["<h2>Provenance</h2>", _description_list(_plain(provenance))]
    return Body(markdown="\n".join(markdown) + "\n", html="\n".join(page) + "\n")


def whole_page(body: Body, *, title: str, figures: Sequence[Figure], files: Sequence[str]) -> str:
    """One HTML page that needs nothing else: styles and figures are inside. `files` are linked by relative path."""
    drawn = "\n".join(_figure(figure) for figure in figures)
    links = "\n".join(f'<li><a href="{html.escape(name)}">{html.escape(name)}</a></li>' for name in files)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<nav><a href="#board">Leaderboard</a> <a href="#figures">Figures</a> <a href="#files">Files</a></nav>
<section id="board">
{body.html}
</section>
<section id="figures">
<h2>Figures</h2>
{drawn}
</section>
<section id="files">
<h2>Files</h2>
<ul>
{links}
</ul>
</section>
</main>
</body>
</html>
"""


def _description_list(items: Any) -> str:
    rows = "\n".join(f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(str(text))}</dd>" for key, text in items)
    return f"<dl>\n{rows}\n</dl>"


def _plain(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (str(key), value if isinstance(value, str) else json.dumps(value, default=str))
        for key, value in provenance.items()
    ]


def _figure(figure: Figure) -> str:
    """The SVG as an image in a data URI: ids of several figures can't clash and no script in it can run."""
    data = base64.b64encode(figure.svg.encode()).decode()
    caption = html.escape(figure.caption)
    image = f'<img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5a5a5a; --paper: #ffffff; --line: #d8d8d8; --link: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #a8a8a8; --paper: #16181c; --line: #3a3d44; --link: #7db7f5; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 1rem 0 0.25rem; }
a { color: var(--link); }
nav a { margin-right: 1rem; }
p { color: var(--soft); font-size: 0.9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.5rem 0 1rem; font-variant-numeric: tabular-nums; font-size: 0.92rem; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { border-bottom: 2px solid var(--ink); white-space: normal; vertical-align: bottom; }
td.flags { white-space: normal; min-width: 9rem; }
.l { text-align: left; }
.r { text-align: right; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: 0.3rem 1rem; font-size: 0.92rem; }
dt { font-weight: 600; overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1rem 0 2rem; }
figure img { width: 100%; max-width: 52rem; height: auto; background: #ffffff; border-radius: 6px; padding: 0.5rem; }
figcaption { color: var(--soft); font-size: 0.9rem; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  th, td { padding: 0.3rem 0.4rem; }
  td.method { white-space: normal; overflow-wrap: anywhere; min-width: 6.5rem; max-width: 8rem; }
  dl { grid-template-columns: 1fr; }
  dd { margin-bottom: 0.5rem; }
}
"""
