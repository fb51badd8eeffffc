"""Figures as PDF: the same drawing is the same file, so that checksums of a bundle hold."""

import subprocess
import sys

import vl_convert

from analysis.figures.style.same_bytes import pdf_of, svg_of

MARKS = "".join(f'<g opacity="0.{place + 1}"><circle cx="{9 * place}" cy="9" r="4"/></g>' for place in range(9))
TEXT = '<text x="1" y="19">text</text><text font-weight="bold" y="9">bold</text>'
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="20">{MARKS}{TEXT}</svg>'


def test_equal_drawings_are_equal_bytes_in_every_process():
    code = (
        "import hashlib, sys; from analysis.figures.style.same_bytes import pdf_of, svg_of;"
        " print({hashlib.sha256(pdf_of(sys.argv[1])).hexdigest() for _ in range(5)})"
    )
    found = {subprocess.run([sys.executable, "-c", code, SVG], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(found) == 1
    assert found.pop().count("'") == 2


def test_names_are_by_number_and_nothing_else_moves():
    pdf = pdf_of(SVG)
    names = [line.split()[0] for line in pdf.splitlines() if line.strip().startswith(b"/xo")]
    assert len(names) == 9
    assert names == sorted(names, key=lambda name: (len(name), name))
    assert len(pdf) == len(vl_convert.svg_to_pdf(SVG))


def test_ids_of_an_svg_count_from_0_whatever_was_drawn_before():
    ramp = {"field": "a", "type": "quantitative", "scale": {"scheme": "viridis"}}
    spec = {"mark": {"type": "point", "clip": True}, "data": {"values": [{"a": 1}, {"a": 2}]},
            "encoding": {"x": {"field": "a", "type": "quantitative"}, "color": ramp}}  # fmt: skip
    drawn = [svg_of(spec) for _ in range(3)]
    assert "gradient_" in drawn[0]
    assert len(set(drawn)) == 1
