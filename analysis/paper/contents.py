"""What a paper bundle holds, whatever kind of subject it is of, and how that becomes a folder that LaTeX compiles."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.figures.of_a_suite import Drawn
from analysis.paper.figures import save_figures
from analysis.paper.files import MAIN, bundle_folder, bundle_paths, figure_tex, main_tex, readme, write_words
from analysis.paper.prose import Text, cited_keys
from analysis.subject import AnySubject
from bench.files import make_folder, write_file

_FIGURES_A_PAGE = 6  # LaTeX keeps no more floats waiting than it has room for


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Of a bundle, before anything is written.

    tables: LaTeX, by what they are of. words: the paragraph of methods. numbers: text of files, by path. scores: keys
    of references of each score here; keys: those that the references have beside what the paragraph cites. uncited:
    what has no reference, and why.
    """

    tables: Mapping[str, Sequence[str]]
    figures: Sequence[Drawn]
    words: Text
    numbers: Mapping[str, str]
    uncited: Mapping[str, str]
    scores: Mapping[str, Collection[str]]
    keys: Sequence[str] = ()


def write_contents(subject: AnySubject, contents: Contents, out: Path, *, command: str, font: str) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `main.tex` first.

    `command` is said to have made the bundle; `font` is that of figures, "sans" or "serif". An earlier bundle is
    replaced once the new one is whole.
    """
    plain, latex = subject.labels.plain, subject.labels.latex
    with bundle_folder(out) as new:
        figures = save_figures(contents.figures, new / "figures", font=font, names=plain)
        parts = [figure_tex(f"figures/{one.name}.pdf", one.inches, one.drawn, latex) for one in figures]
        pages = [parts[start : start + _FIGURES_A_PAGE] for start in range(0, len(parts), _FIGURES_A_PAGE)]
        write_file(new / "figures.tex", "\n\\clearpage\n".join("\n".join(page) for page in pages))
        tables = {
            f"tables/{kind}{f'-{place}' if place > 1 else ''}.tex": table
            for kind, of_kind in contents.tables.items()
            for place, table in enumerate(of_kind, start=1)
        }
        manifest = {} if subject.manifest is None else {"manifest.json": subject.manifest}
        for path, text in {**tables, **contents.numbers, **manifest}.items():
            make_folder((new / path).parent)
            write_file(new / path, text)
        write_words(contents.words, new, subject.labels, subject.plain_manifest, keys=contents.keys)
        has_references = bool(cited_keys(contents.words))
        write_file(new / MAIN, main_tex(tables, title=subject.title, has_references=has_references))
        said = {"uncited": contents.uncited, "scores": contents.scores}
        write_file(new / "README.txt", readme(new, title=subject.title, command=command, **said))
    return bundle_paths(out)
