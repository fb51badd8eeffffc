"""What holds a paper bundle together: the document, its figures, the README, and how a folder is filled or refused."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.figures.of_a_suite import Drawn
from analysis.figures.style.chart_style import whole_lines
from analysis.figures.style.columns import COLUMN_INCHES, PAGE_INCHES
from analysis.labels import Labels, Names
from analysis.paper.bibliography import bibtex
from analysis.paper.prose import Text, cited_keys, named_prose, text_latex, text_markdown
from analysis.scores.registry import REGISTRY
from analysis.tables.forms.html import templates
from analysis.text import breakable_latex
from bench.errors import UsageError
from bench.files import make_folder, refuse_link, write_file

MAIN = "main.tex"
SUMS_FILE = "SHA256SUMS"

# What LaTeX leaves beside MAIN, which may stay where a bundle is written anew.
_LATEX_SUFFIXES = (".aux", ".bbl", ".blg", ".fdb_latexmk", ".fls", ".log", ".out", ".pdf", ".synctex.gz")
_NAMED = 3  # of the files in the way


def main_tex(tables: Iterable[str], *, title: str, has_references: bool) -> str:
    """The document that inputs everything; `tables` are paths within the folder."""
    return _rendered(
        MAIN,
        page=PAGE_INCHES,
        gap=PAGE_INCHES - 2 * COLUMN_INCHES,
        title=breakable_latex(title),
        tables=[name.removesuffix(".tex") for name in tables],
        has_references=has_references,
    )


def preamble_tex() -> str:
    """What tables, figures and references need, in any document class."""
    return _rendered("preamble.tex")


def figure_tex(path: str, inches: float, drawn: Drawn, names: Names) -> str:
    """A figure at its own width, over both columns if it is wider than one; its caption has the words of the title.

    names: what the caption calls methods and workloads.
    """
    star = "*" if inches > COLUMN_INCHES else ""
    chart: Any = drawn.chart
    notes = [line.rstrip(".") for line in whole_lines(chart.title.subtitle) if line != drawn.place]
    caption = ". ".join([f"{drawn.title}: {drawn.place}", *notes]) + "."
    name = path.rpartition("/")[2].removesuffix(".pdf").replace("_", "-")
    lines = [
        rf"\begin{{figure{star}}}[tp]",
        r"\centering",
        rf"\includegraphics{{{path}}}",
        rf"\caption{{{breakable_latex(names.in_text(caption))}}}",
        rf"\label{{fig:{name}}}",
        rf"\end{{figure{star}}}",
    ]
    return "\n".join(lines) + "\n"


def readme(
    folder: Path, *, title: str, command: str, uncited: Mapping[str, str], scores: Mapping[str, Collection[str]]
) -> str:
    """What is what in the folder, how to make it again, how to cite; `scores`: keys of each score here."""
    present = {path.name + ("/" if path.is_dir() else "") for path in folder.iterdir()} | {SUMS_FILE}
    widths = {"column": COLUMN_INCHES, "page": PAGE_INCHES}
    definitions = {name: REGISTRY[name].definition for name in scores}
    said = {"title": title, "command": command, "uncited": uncited, "scores": scores, "definitions": definitions}
    return _rendered("README.txt", present=present, **widths, **said)


def refuse_other_files(out: Path) -> None:
    """Raises UsageError unless `out` is new, empty, or an earlier bundle as it was written, and no link."""
    refuse_link(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: a folder for the bundle is required, this is a file")
    names = _names(out)
    if not names:
        return
    if SUMS_FILE not in names:
        raise UsageError(f"{out}: holds {_listed(names)}, which is no earlier bundle; name a new or empty folder")
    sums = read_sums(out)
    others = [name for name in names if name not in sums and name != SUMS_FILE and not _is_by_latex(name)]
    if others:
        raise UsageError(f"{out}: holds {_listed(others)} beside an earlier bundle; move that, or name a new folder")
    changed = [name for name in names if name in sums and checksum(out / name) != sums[name]]
    if changed:
        raise UsageError(
            f"{out}: {_listed(changed)} changed since the bundle was written; move it, or name a new folder"
        )


@contextlib.contextmanager
def bundle_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, whose files, and SUMS_FILE over them, are those of `out` once all are written.

    It lies on the disk of `out`, which may hold an earlier bundle: that is replaced.
    """
    target = Path(os.path.abspath(out))  # "." has no name and no parent
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        yield Path(temporary)
        write_sums(Path(temporary))
        put_in_place(Path(temporary), target)


def bundle_paths(out: Path) -> list[Path]:
    """The files of a bundle, MAIN first."""
    return [out / MAIN, *(out / name for name in sorted({*read_sums(out), SUMS_FILE} - {MAIN}))]


def write_words(
    text: Text, folder: Path, labels: Labels, manifest: Mapping[str, Any], *, keys: Iterable[str] = ()
) -> None:
    """The paragraph of methods, the references that it cites and those of `keys`, and what LaTeX needs for both."""
    write_file(folder / "methods.tex", text_latex(named_prose(text, labels.latex)))
    write_file(folder / "methods.md", text_markdown(named_prose(text, labels.plain)))
    write_file(folder / "references.bib", bibtex([*cited_keys(text), *keys], manifest))
    write_file(folder / "preamble.tex", preamble_tex())


def put_in_place(new: Path, out: Path) -> None:
    """Moves the files of `new`, on the same disk, into `out`, in the place of those of an earlier bundle."""
    make_folder(out)
    earlier = {*read_sums(out), SUMS_FILE} & set(_names(out))
    for name in earlier:
        (out / name).unlink()
    for name in _names(new):
        make_folder((out / name).parent)
        (new / name).replace(out / name)


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 by file name, as SUMS_FILE has it; none where it is missing."""
    path = folder / SUMS_FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def write_sums(folder: Path) -> None:
    """Writes SUMS_FILE over all other files."""
    text = "".join(f"{checksum(folder / name)}  {name}\n" for name in _names(folder))
    write_file(folder / SUMS_FILE, text)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rendered(name: str, **values: object) -> str:
    return templates().get_template(name).render(values)


def _names(folder: Path) -> list[str]:
    """Files and links below the folder, by path within it, sorted."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _is_by_latex(name: str) -> bool:
    return name in {MAIN.removesuffix(".tex") + suffix for suffix in _LATEX_SUFFIXES}


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(map(repr, names[:_NAMED])) + (f" and {more} more" if more > 0 else "")
