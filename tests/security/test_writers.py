"""Whatever writes where a user said so writes there alone: no link is followed, no cell is a formula."""

import csv
import io
import os

import polars as pl
import pytest

from analysis.paper.files import refuse_other_files
from analysis.report.own_folder import FILES_FILE, keep_to, refuse_other_folder
from analysis.tables.forms.csv_text import csv_text
from bench.errors import UsageError
from bench.files import make_folder, open_private, write_file
from bench.imports.tidy_file import read_tidy


@pytest.fixture
def victim(tmp_path):
    """A file that somebody else would like to have overwritten."""
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


@pytest.mark.parametrize("is_hard", [False, True])
def test_a_link_in_place_of_a_file_is_replaced(tmp_path, victim, is_hard):
    target = tmp_path / "out" / "index.html"
    make_folder(target.parent)
    os.link(victim, target) if is_hard else target.symlink_to(victim)
    write_file(target, "page")
    assert (victim.read_text(), target.read_text(), target.is_symlink()) == ("precious", "page", False)


def test_what_failed_leaves_what_was_there_and_names_the_file(tmp_path, victim):
    (tmp_path / "index.html").mkdir()
    with pytest.raises(IsADirectoryError) as refused:
        write_file(tmp_path / "index.html", "page")
    assert refused.value.filename == str(tmp_path / "index.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "victim"]


@pytest.mark.parametrize("write", [make_folder, refuse_other_folder, refuse_other_files])
def test_a_link_in_place_of_a_folder_is_refused(tmp_path, write):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="a link, which is not followed"):
        write(tmp_path / "out")


def test_private_files_are_not_opened_through_a_link(tmp_path, victim):
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        open_private(tmp_path / "lock", "wb")
    assert victim.read_text() == "precious"


def test_a_list_of_files_that_is_a_link_is_replaced(tmp_path, victim):
    out = make_folder(tmp_path / "out")
    (out / FILES_FILE).symlink_to(victim)
    keep_to(out, [out / "index.html"])
    assert victim.read_text() == "precious"


FORMULAS = ["=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "-x"]
NUMBERS = ["-1", "+1", "-0.5e-3", "-.5", "1", "-inf", "softmax", "'quoted", ""]


def test_no_text_is_a_formula_and_numbers_stay_numbers():
    frame = pl.DataFrame({"method": [*FORMULAS, *NUMBERS], "loss": [-0.25 * n for n in range(17)]})
    header, *rows = csv.reader(io.StringIO(csv_text(frame), newline=""))
    assert header == frame.columns
    assert [method for method, _ in rows] == [*(f"'{text}" for text in FORMULAS), *NUMBERS]
    assert [float(loss) for _, loss in rows] == frame["loss"].to_list()


def test_an_import_has_the_names_as_they_were(tmp_path):
    frame = pl.DataFrame({"method": ["=a", "-x", "'b", "@c"], "loss": [1.0, -2.0, 3.0, 4.0]})
    path = write_file(tmp_path / "runs.csv", csv_text(frame))
    assert read_tidy(path).cells["method"].to_list() == frame["method"].to_list()
