"""Compiling LaTeX for real, or skipping with a word on what is missing."""

import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.paper.files import main_tex, preamble_tex

MISSING = (
    "needs pdflatex and bibtex (Debian: apt-get install --no-install-recommends texlive-latex-recommended "
    "texlive-science)"
)


def compiled(folder: Path, *, times: int = 3) -> str:
    """Compiles main.tex, with BibTeX after the first time where it cites; the last log, its lines joined again."""
    if not _is_installed():
        pytest.skip(MISSING)
    for time in range(times):
        _run(folder, "pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex")
        if time == 0 and r"\bibdata" in (folder / "main.aux").read_text(errors="replace"):
            _run(folder, "bibtex", "main")
    log = (folder / "main.log").read_text(encoding="utf-8", errors="replace")
    return re.sub(r"(?<=.{79})\n", "", log)


def compiled_body(folder: Path, body: str) -> str:
    """The log of a document of the bundle's kind that holds `body` alone."""
    (folder / "preamble.tex").write_text(preamble_tex())
    (folder / "methods.tex").write_text(body, encoding="utf-8")
    (folder / "figures.tex").write_text("")
    (folder / "main.tex").write_text(main_tex([], title="t", has_references=False))
    return compiled(folder, times=1)


def complaints(log: str) -> list[str]:
    """Lines of a log about boxes too wide and anything undefined; not that labels need another run."""
    return [
        line
        for line in log.splitlines()
        if re.search(r"Overfull \\hbox|undefined|LaTeX Warning(?!: Label)|Missing", line)
    ]


@functools.cache
def _is_installed() -> bool:
    """Whether the programs are here and the package that LaTeX's smaller installations lack."""
    if any(shutil.which(program) is None for program in ("pdflatex", "bibtex", "kpsewhich")):
        return False
    return subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True).returncode == 0


def _run(folder: Path, *command: str) -> None:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert ran.returncode == 0, ran.stdout[-2000:]
