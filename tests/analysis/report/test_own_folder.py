"""A report keeps to its own folder: others are refused, an earlier report's is cleaned, files of others stay."""

from pathlib import Path

import pytest

from analysis.report.own_folder import keep_to, refuse_other_folder
from bench.errors import UsageError


def filled(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    return paths


def test_a_folder_of_other_files_is_refused(tmp_path):
    filled(tmp_path, "a.txt", "b.txt", "index.html", "thesis.tex")
    with pytest.raises(UsageError, match=r"holds a.txt, b.txt, index.html and 1 more, which is no report"):
        refuse_other_folder(tmp_path)


def test_new_and_empty_folders_and_earlier_reports_are_taken_as_they_are(tmp_path):
    """Also a report that was written before reports listed their files; none is touched by asking."""
    empty, earlier, listed = (tmp_path / name for name in ("empty", "earlier", "listed"))
    empty.mkdir()
    filled(earlier, "index.html", "report.md", "curves.csv")
    keep_to(listed, filled(listed, "index.html"))
    before = sorted(tmp_path.rglob("*"))
    for folder in (tmp_path / "new", empty, earlier, listed):
        refuse_other_folder(folder)
    assert sorted(tmp_path.rglob("*")) == before
    filled(listed, "notes.txt")
    (listed / "files.txt").unlink()
    with pytest.raises(UsageError, match="which is no report"):
        refuse_other_folder(listed)


def test_files_of_an_earlier_report_go_and_those_of_others_stay(tmp_path):
    assert keep_to(tmp_path, filled(tmp_path, "index.html", "figures/old.svg")) == []
    filled(tmp_path, "notes.txt")
    assert keep_to(tmp_path, filled(tmp_path, "index.html", "figures/new.svg")) == [tmp_path / "figures/old.svg"]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["files.txt", "index.html", "new.svg", "notes.txt"]


def test_a_list_cannot_name_files_outside_of_the_folder(tmp_path):
    (mine,) = filled(tmp_path, "mine.txt")
    written = filled(tmp_path / "report", "index.html")
    (tmp_path / "report/files.txt").write_text(f"../mine.txt\n{mine}\n")
    assert keep_to(tmp_path / "report", written) == []
    assert mine.exists()
