"""The font of a paper's figures, one that every machine has: text is measured with it, and every SVG carries it."""

from __future__ import annotations

import base64
import functools
import importlib.util
import io
from pathlib import Path
from xml.etree import ElementTree

from bench.lazy import vl_convert

FAMILY = "DejaVu Sans"

# By font-weight. Source: matplotlib, whose fonts are installed wherever it is.
_FILES = {"normal": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}
_TEXT = "{http://www.w3.org/2000/svg}text"


@functools.cache
def register_font() -> None:
    """Lets vl_convert draw with FAMILY."""
    vl_convert.register_font_directory(str(_folder()))


def with_font(svg: str) -> str:
    """The SVG with those letters of FAMILY embedded that its text has; what the font lacks is left to the viewer."""
    start = svg.index(">") + 1
    return f"{svg[:start]}<style>{''.join(_face(*one) for one in sorted(_letters(svg).items()))}</style>{svg[start:]}"


def _letters(svg: str) -> dict[str, str]:
    """The letters of all text by weight, each once, sorted."""
    found: dict[str, set[str]] = {}
    for text in ElementTree.fromstring(svg).iter(_TEXT):
        weight = text.get("font-weight", "normal")
        found.setdefault(weight, set()).update("".join(text.itertext()))
    return {weight: "".join(sorted(letters)) for weight, letters in found.items() if letters}


def _face(weight: str, letters: str) -> str:
    data = base64.b64encode(_subset(weight, letters)).decode()
    source = f'url("data:font/woff;base64,{data}") format("woff")'
    return f'@font-face{{font-family:"{FAMILY}";font-weight:{weight};src:{source}}}'


@functools.lru_cache(maxsize=64)  # a figure is laid out anew for every number of its parts
def _subset(weight: str, letters: str) -> bytes:
    """WOFF of these letters, the same bytes whenever it is made."""
    from fontTools import subset

    options = subset.Options(flavor="woff", hinting=False, recalc_timestamp=False)
    options.drop_tables += ["FFTM"]  # dates of FontForge
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=letters)
    file = io.BytesIO()
    with subset.load_font(str(_folder() / _FILES[weight]), options) as font:
        subsetter.subset(font)
        subset.save_font(font, file, options)
    return file.getvalue()


def _folder() -> Path:
    """Where the fonts lie; matplotlib itself, which writes into the home folder, isn't imported."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
