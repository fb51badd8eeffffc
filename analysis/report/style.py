"""How figures follow a page that is light or dark; its own style sheet is templates/page.css."""

from __future__ import annotations

import re

from analysis.figures.style.chart_style import GREY, PALETTE, QUIET

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
    css = " ".join(f"{selector} {{ {rule}; }}" for selector, rule in rules.items())
    style = f"<style>@media (prefers-color-scheme: dark) {{ {css} }}</style>"
    return re.sub(r"(<svg\b[^>]*>)", lambda match: match[1] + style, svg, count=1)


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


def size_of(svg: str) -> tuple[float, float]:
    """Width and height of a figure in pixels."""
    (tag,) = re.findall(r"<svg\b[^>]*>", svg)[:1]
    wide, high = (re.findall(rf'\b{name}="([\d.]+)"', tag)[0] for name in ("width", "height"))
    return float(wide), float(high)
