"""Any of our charts at the width of a paper's column: narrower panels, no title (a caption says it), text of 7 pt on.

A chart is laid out anew in its own pixels, so that all that has a size (text, marks, strokes) keeps its proportions,
and is then scaled as a whole to the width wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.figures.style.chart_style import Chart
from analysis.figures.style.fonts import in_font, with_font
from analysis.figures.style.named import named_spec
from analysis.figures.style.same_bytes import pdf_of, svg_of
from analysis.labels import NO_LABELS, Names
from bench.files import write_file

COLUMN_INCHES = 3.25
PAGE_INCHES = 6.75
POINTS_PER_INCH = 72
FORMATS = ("pdf", "svg")

_POINTS_PER_PIXEL = 7 / 11  # text of 11 pixels, the smallest of analysis.figures.style.chart_style, becomes 7 pt
_MOST_POINTS_PER_PIXEL = 9 / 11  # of what can't be made wider: a map of few cells stays small, as does its text
_ROUNDS = 3  # of fitting panels: labels beside them take what they take
_TOLERANCE = 1.01  # what the last scaling makes good
_LEAST_PANEL = 60  # pixels
_LEAST_SHRINK = 0.75  # of a panel's height
_LETTER_PIXELS, _SYMBOL_PIXELS = 7, 34  # of a legend: a letter, and a symbol with its gaps

Spec = dict[str, Any]


def save_at_width(
    chart: Chart, folder: Path, name: str, inches: float, *, font: str = "sans", names: Names = NO_LABELS.plain
) -> list[Path]:
    """Writes `name`.pdf and `name`.svg of this width, the font, one of FONTS, embedded in both; returns the paths.

    names: what it calls methods and workloads.

    Narrower where labels would be larger than 9 pt: the cells of a map are as wide as they are.
    """
    svg = svg_at_width(chart, inches, font=font, names=names)
    width, height = _size(svg)
    wide = min(inches * POINTS_PER_INCH, width * _MOST_POINTS_PER_PIXEL)
    high = wide * height / width
    paths = {form: folder / f"{name}.{form}" for form in FORMATS}
    # A unit of the SVG becomes a point of the PDF.
    write_file(paths["pdf"], pdf_of(_resized(svg, f"{wide:.3f}", f"{high:.3f}")))
    sized = with_font(_resized(svg, f"{wide:.3f}pt", f"{high:.3f}pt"), font)
    write_file(paths["svg"], sized)
    return list(paths.values())


def svg_at_width(chart: Chart, inches: float, *, font: str = "sans", names: Names = NO_LABELS.plain) -> str:
    """The chart as SVG in pixels; 7 / 11 of a point each, and so much wider where it can't be made narrow enough."""
    spec = in_font(named_spec(chart.to_dict(), names), font)
    spec.pop("title", None)
    target = inches * POINTS_PER_INCH / _POINTS_PER_PIXEL
    _fit_legends(spec, target)
    panels = [(view, view["width"], view["height"]) for view in _sized_views(spec)]
    svg = _fitted(spec, panels, target)
    while _size(svg)[0] > target * _TOLERANCE and "columns" in spec and spec["columns"] > 1:
        spec["columns"] = _num_columns(spec) - 1
        svg = _fitted(spec, panels, target)
    return svg


def _fitted(spec: Spec, panels: list[tuple[Spec, float, float]], target: float) -> str:
    """Narrows or widens the panels, (view, natural width, natural height), until the whole is as wide as the target."""
    for view, width, height in panels:
        view.update(width=width, height=height)
    in_row, factor = _row_width(spec), 1.0
    svg = svg_of(spec)
    for _ in range(_ROUNDS if panels else 0):
        factor += (target - _size(svg)[0]) / in_row
        for view, width, height in panels:
            view["width"] = max(_LEAST_PANEL, width * factor)
            view["height"] = height * min(1.0, max(_LEAST_SHRINK, factor))
        svg = svg_of(spec)
        if abs(_size(svg)[0] / target - 1) < _TOLERANCE - 1:
            break
    return svg


def _resized(svg: str, width: str, height: str) -> str:
    return re.sub(r'width="[\d.]+" height="[\d.]+"', f'width="{width}" height="{height}"', svg, count=1)


def _size(svg: str) -> tuple[float, float]:
    """Width and height in pixels."""
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg)
    assert size is not None
    return float(size[1]), float(size[2])


def _sized_views(spec: Spec) -> Iterator[Spec]:
    """Every panel whose width is a number; one whose width is a step a value keeps it."""
    if all(isinstance(spec.get(name), (int, float)) for name in ("width", "height")):
        yield spec
    if "spec" in spec and "columns" in spec:  # a facet whose rows are broken
        yield from _sized_views(spec["spec"])
    for name in ("layer", "hconcat", "vconcat", "concat"):
        for part in spec.get(name, ()):
            yield from _sized_views(part)


def _num_columns(spec: Spec) -> int:
    """Number of columns of panels; of a facet the most there may be: its data alone tell how many panels it has."""
    return min(spec["columns"], len(spec["concat"])) if "concat" in spec else spec["columns"]


def _row_width(spec: Spec) -> float:
    """Pixels of the panels in the widest row."""
    if isinstance(spec.get("width"), (int, float)):
        return float(spec["width"])
    if "hconcat" in spec:
        return sum(map(_row_width, spec["hconcat"]))
    if "spec" in spec and "columns" in spec:
        return spec["columns"] * _row_width(spec["spec"])
    if "concat" in spec:
        widths = list(map(_row_width, spec["concat"]))
        columns = spec["columns"] if "columns" in spec else len(widths)
        return max(sum(widths[start : start + columns]) for start in range(0, len(widths), columns))
    return max((_row_width(part) for part in spec.get("vconcat", spec.get("layer", ()))), default=0.0)


def _fit_legends(node: Any, pixels: float) -> None:
    """As many columns in every legend as its labels leave room for."""
    for part in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        _fit_legends(part, pixels)
    if isinstance(node, dict) and isinstance(node.get("legend"), dict) and "columns" in node["legend"]:
        labels = node["scale"]["domain"]
        longest = max(len(str(label)) for label in labels) * _LETTER_PIXELS
        entry = min(longest, node["legend"]["labelLimit"]) + _SYMBOL_PIXELS
        node["legend"]["columns"] = max(1, min(len(labels), int(pixels / entry)))
