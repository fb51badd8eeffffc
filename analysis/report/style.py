"""How the page looks: its style sheet, light and dark, on a phone and on paper, and how figures follow it."""

from __future__ import annotations

import re

from analysis.figures.chart_style import GREY, PALETTE, QUIET

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1a1a1a; --soft: #555b63; --paper: #ffffff; --card: #ffffff; --line: #d8dbe0; --link: #0b5cad; --head: #f4f5f7;
  --curve: #0072b2; --best: #008a64; --bad: #c44e00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8e8e8; --soft: #a9b0ba; --paper: #15171b; --card: #1d2026; --line: #3a3e47; --link: #8abef7;
    --head: #20242b; --curve: #56b4e9; --best: #2fc99a; --bad: #ff9248;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 0.5rem; padding-top: 0.75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 0.25rem; overflow-wrap: anywhere; }
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; margin: 0.75rem 0; }
.lead { font-size: 1.1rem; max-width: 60rem; margin: 0.5rem 0; overflow-wrap: anywhere; }
.about, .note { color: var(--soft); font-size: 0.9rem; max-width: 60rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.5rem 0 1rem; font-variant-numeric: tabular-nums; font-size: 0.92rem; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); white-space: nowrap; font-weight: normal; }
.board th, .board td { padding: 0.3rem 0.4rem; }
thead th { border-bottom: 2px solid var(--ink); white-space: normal; vertical-align: bottom; font-weight: 600; }
.rounds td { white-space: normal; vertical-align: top; overflow-wrap: anywhere; }
.rounds td:first-child { white-space: nowrap; }
td.flags { white-space: normal; min-width: 5.5rem; }
.board th.method { white-space: normal; min-width: 9.5rem; }
.board .drawn, .board .curve { padding: 0.15rem 0.5rem; }
.ends { display: flex; justify-content: space-between; width: 7.5rem; font-weight: normal; font-size: 0.8rem; }
.l { text-align: left; }
.r { text-align: right; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: 0.3rem 1rem; font-size: 0.92rem; }
dt { font-weight: 600; overflow-wrap: anywhere; max-width: 16rem; }
dd { margin: 0; overflow-wrap: anywhere; }
:target { outline: 2px solid var(--link); outline-offset: 3px; }
svg { display: block; overflow: visible; }
svg.spark { width: 8.25rem; height: 2.25rem; }
svg.whisker { width: 7.5rem; height: 1.125rem; }
svg path, svg circle { vector-effect: non-scaling-stroke; }
.line { fill: none; stroke: var(--curve); stroke-width: 1.7; stroke-linejoin: round; }
.band { fill: var(--curve); opacity: 0.18; }
.init { fill: none; stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; }
.axis { fill: none; stroke: var(--line); stroke-width: 1; }
.cross { fill: none; stroke: var(--bad); stroke-width: 1.4; }
.best { fill: var(--best); stroke: var(--paper); stroke-width: 1; }
.range { fill: none; stroke: var(--curve); stroke-width: 1.6; }
.dot { fill: var(--curve); }
figure { margin: 1rem 0 2rem; }
.drawing { overflow-x: auto; width: fit-content; max-width: 100%; background: var(--card); padding: 0.5rem;
  border: 1px solid var(--line); border-radius: 6px; }
.drawing img { display: block; max-width: 100%; min-width: calc(var(--wide) * 0.8); height: auto; }
figcaption { color: var(--soft); font-size: 0.9rem; margin-top: 0.35rem; overflow-wrap: anywhere; }
ul.files { columns: 20rem; font-size: 0.9rem; }
ul.files li { overflow-wrap: anywhere; }
@media (max-width: 52rem) {
  main { padding: 0.75rem; }
  dl { grid-template-columns: minmax(0, 1fr); }
  dd { margin-bottom: 0.5rem; }
  th, td { padding: 0.3rem 0.4rem; }
  td.method { white-space: normal; overflow-wrap: anywhere; min-width: 6.5rem; max-width: 9rem; }
  .rounds, .rounds tbody, .rounds tr, .rounds td { display: block; }
  .rounds tr { padding: 0.5rem 0; border-bottom: 1px solid var(--line); }
  .rounds td { border: 0; padding: 0.1rem 0; }
  .rounds td::before { content: attr(data-title) " "; color: var(--soft); font-size: 0.75rem; }
  .board, .board tbody { display: block; width: 100%; }
  .rounds thead, .board thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .board tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); gap: 0.3rem 0.75rem;
    padding: 0.6rem 0; border-bottom: 1px solid var(--line); }
  .board th, .board td { display: block; border: 0; padding: 0; text-align: left; white-space: normal;
    overflow-wrap: anywhere; }
  .board td::before { content: attr(data-title); display: block; color: var(--soft); font-size: 0.75rem; }
  .board th.method { grid-column: 1 / -1; order: -1; font-weight: 600; }
  .board .drawn, .board .curve { padding: 0; }
  .board .drawn { grid-column: span 3; order: 1; }
  .board .curve { grid-column: span 3; order: 2; }
  .board td { order: 3; }
  .board td.rank, .board td.lr_sensitivity, .board td.interval { order: 0; }
  .board td.optimizer, .board td.knobs { order: -1; grid-column: 1 / -1; }
  .board td.flags { grid-column: 1 / -1; }
  .board td.flags:empty { display: none; }
  svg.spark { width: 100%; max-width: 18rem; height: auto; }
  svg.whisker { width: 100%; max-width: 18rem; height: auto; }
}
@media print {
  :root {
    color-scheme: light;
    --ink: #000000; --soft: #444444; --paper: #ffffff; --card: #ffffff; --line: #bbbbbb; --link: #000000;
    --head: #ffffff; --curve: #0072b2; --best: #008a64; --bad: #c44e00;
  }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  nav, #files { display: none; }
  .scroll, .drawing { overflow: visible; }
  .board th, .board td { padding: 0.15rem 0.3rem; font-size: 8pt; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""

# Of a figure: what is black, grey or white in light becomes this in dark.
_DARK_GROUND = "#1d2026"
_FIGURE_DARK = {
    "svg > rect:first-of-type": f"fill: {_DARK_GROUND}",
    '[fill="#000"]': "fill: #e8e8e8",
    '[fill="#000000"]': "fill: #f4f4f4",
    '[stroke="#000000"]': "stroke: #f4f4f4",
    f'[fill="{GREY}"]': "fill: #b4bac3",
    f'[stroke="{GREY}"]': "stroke: #b4bac3",
    f'[fill="{QUIET}"]': "fill: #3b4049",
    '[stroke="#e5e5e5"]': "stroke: #32363e",
    '[stroke="#cccccc"]': "stroke: #4a4e57",
}
_COLOUR = re.compile(r'stroke="(#[0-9a-fA-F]{6}|rgb\(\d+, \d+, \d+\))"')
_LEAST_CONTRAST = 3.5  # of a line on its ground; WCAG 2.2 asks for 3


def follows_the_page(svg: str) -> str:
    """A figure's SVG with a style of its own, by which it is dark where the page is and light where it is not.

    Lines and points that would be too faint on a dark ground are lightened there; filled cells keep their colours.
    """
    rules = dict(_FIGURE_DARK)
    for colour in sorted({*PALETTE, *_COLOUR.findall(svg)}):
        lighter = on_dark(colour)
        if lighter != colour and f'[stroke="{colour}"]' not in rules:
            rules[f'[stroke="{colour}"]'] = f"stroke: {lighter}"
            if colour in PALETTE:
                rules[f'[fill="{colour}"]'] = f"fill: {lighter}"
    told = " ".join(f"{selector} {{ {rule}; }}" for selector, rule in rules.items())
    style = f"<style>@media (prefers-color-scheme: dark) {{ {told} }}</style>"
    return re.sub(r"(<svg\b[^>]*>)", lambda found: found[1] + style, svg, count=1)


def on_dark(colour: str) -> str:
    """The colour (#rrggbb or `rgb(r, g, b)`), mixed with as much white as it takes to be read on the dark ground."""
    levels = _levels(colour)
    for white in range(0, 101, 5):
        mixed = tuple(round(level + (255 - level) * white / 100) for level in levels)
        if contrast(mixed, _levels(_DARK_GROUND)) >= _LEAST_CONTRAST:
            return colour if white == 0 else "#" + "".join(f"{level:02x}" for level in mixed)
    raise AssertionError(colour)  # white itself has enough contrast


def contrast(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """Contrast ratio of two colours of levels 0 to 255, in [1, 21]. Source: WCAG 2.2, relative luminance."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(levels: tuple[int, ...]) -> float:
    shares = [level / 255 for level in levels]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _levels(colour: str) -> tuple[int, ...]:
    if colour.startswith("#"):
        return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return tuple(int(level) for level in re.findall(r"\d+", colour))


def width_of(svg: str) -> float:
    """Width of a figure in pixels."""
    found = re.search(r'<svg\b[^>]*\bwidth="([\d.]+)"', svg)
    assert found is not None, svg[:200]
    return float(found[1])
