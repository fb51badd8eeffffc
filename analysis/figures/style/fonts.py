"""The fonts of a paper's figures, which every machine has: text is measured with them, every SVG carries its own."""

from __future__ import annotations

import base64
import functools
import importlib.util
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench.lazy import vl_convert


@dataclass(frozen=True, kw_only=True)
class Font:
    """The name of its family, that of any like it (which CSS knows), and its files by font-weight."""

    family: str
    generic: str
    files: Mapping[str, str]


# Source: matplotlib, whose fonts are installed wherever it is.
FONTS: dict[str, Font] = {
    "sans": Font(
        family="DejaVu Sans", generic="sans-serif", files={"normal": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}
    ),
    "serif": Font(
        family="DejaVu Serif", generic="serif", files={"normal": "DejaVuSerif.ttf", "bold": "DejaVuSerif-Bold.ttf"}
    ),
}
_TEXT = "{http://www.w3.org/2000/svg}text"


@functools.cache
def register_font() -> None:
    """Lets vl_convert draw with FONTS."""
    vl_convert.register_font_directory(str(_folder()))


def in_font(spec: dict[str, Any], font: str | None) -> dict[str, Any]:
    """A chart's specification whose text is in the font, one of FONTS; with None as it is, in a sans serif."""
    if font is None:
        return spec
    register_font()
    return {**spec, "config": {**spec.get("config", {}), "font": f"{FONTS[font].family}, {FONTS[font].generic}"}}


def with_font(svg: str, font: str) -> str:
    """The SVG with those letters of the font, one of FONTS, embedded that its text has.

    What the font lacks is left to the viewer.
    """
    start = svg.index(">") + 1
    faces = "".join(_face(FONTS[font], *one) for one in sorted(_letters(svg).items()))
    return f"{svg[:start]}<style>{faces}</style>{svg[start:]}"


def _letters(svg: str) -> dict[str, str]:
    """The letters of all text by weight, each once, sorted."""
    by_weight: dict[str, set[str]] = {}
    for text in ElementTree.fromstring(svg).iter(_TEXT):
        weight = text.get("font-weight", "normal")
        by_weight.setdefault(weight, set()).update("".join(text.itertext()))
    return {weight: "".join(sorted(letters)) for weight, letters in by_weight.items() if letters}


def _face(font: Font, weight: str, letters: str) -> str:
    data = base64.b64encode(_subset(font.files[weight], letters)).decode()
    source = f'url("data:font/woff;base64,{data}") format("woff")'
    return f'@font-face{{font-family:"{font.family}";font-weight:{weight};src:{source}}}'


@functools.lru_cache(maxsize=64)  # a figure is laid out anew for every number of its parts
def _subset(file_name: str, letters: str) -> bytes:
    """WOFF of these letters, the same bytes whenever it is made."""
    from fontTools import subset

    options = subset.Options(flavor="woff", hinting=False, recalc_timestamp=False)
    options.drop_tables += ["FFTM"]  # dates of FontForge
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=letters)
    file = io.BytesIO()
    with subset.load_font(str(_folder() / file_name), options) as font:
        subsetter.subset(font)
        subset.save_font(font, file, options)
    return file.getvalue()


def _folder() -> Path:
    """Where the fonts lie; matplotlib itself, which writes into the home folder, isn't imported."""
    matplotlib = importlib.util.find_spec("matplotlib")
    assert matplotlib is not None
    assert matplotlib.origin is not None
    return Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf"
