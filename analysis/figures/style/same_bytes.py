"""Figures as SVG and PDF, equal bytes for equal drawings, whatever was drawn before."""

from __future__ import annotations

import re
from typing import Any

from bench.lazy import vl_convert

_IDS = re.compile(r"\b(gradient_|clip)(\d+)\b")  # counted on from figure to figure
# Names of what a page of a PDF draws with, and its fonts: both are written in another order every time.
_RESOURCES = re.compile(rb"(?:^ +/[A-Za-z]+\d+ \d+ 0 R\n){2,}", re.MULTILINE)
_FONTS = re.compile(rb"/BaseFont /[A-Z]{6}\+(\S+)")
_TRIES = 24  # of two fonts one in two is in order


def svg_of(spec: dict[str, Any]) -> str:
    """The drawing of a specification; its ids count from 0."""
    svg = vl_convert.vegalite_to_svg(spec)
    numbers = {name: place for place, name in enumerate(dict.fromkeys(match[0] for match in _IDS.finditer(svg)))}
    return _IDS.sub(lambda match: f"{match[1]}{numbers[match[0]]}", svg)


def pdf_of(svg: str) -> bytes:
    """The drawing as a PDF of one page: fonts in the order of their names, names of resources by number."""
    pdf = b""
    for _ in range(_TRIES):
        pdf = vl_convert.svg_to_pdf(svg)
        fonts = list(dict.fromkeys(_FONTS.findall(pdf)))
        if fonts == sorted(fonts):
            break
    return _RESOURCES.sub(_by_number, pdf)


def _by_number(match: re.Match[Any]) -> bytes:
    lines = bytes(match[0]).split(b"\n")[:-1]
    return b"".join(line + b"\n" for line in sorted(lines, key=lambda line: (len(line.split()[0]), line)))
