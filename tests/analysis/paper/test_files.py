"""A folder is filled only where nothing of anybody else's is in the way."""

import re

import pytest

from analysis.figures.frames.aggregate import loss_summary
from analysis.figures.lr_loss import loss_against_lr
from analysis.figures.of_a_suite import Drawn
from analysis.labels import NO_LABELS
from analysis.paper.files import SUMS_FILE, figure_tex, put_in_place, read_sums, refuse_other_files, write_sums
from bench.errors import UsageError
from tests.analysis.synthetic_results import results


def made(folder, **texts):
    """A folder with these files, and their checksums."""
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    write_sums(folder)
    return folder


def test_new_empty_and_unchanged_folders_are_taken_as_they_are(tmp_path):
    refuse_other_files(tmp_path / "new")
    refuse_other_files(tmp_path)
    assert list(tmp_path.iterdir()) == []
    refuse_other_files(made(tmp_path, main="x", figures__f="y"))
    assert ((tmp_path / "main").read_text(), (tmp_path / "figures/f").read_text()) == ("x", "y")


def test_what_latex_leaves_beside_the_document_may_stay(tmp_path):
    made(tmp_path, main="x")
    for suffix in ("aux", "bbl", "log", "pdf", "synctex.gz"):
        (tmp_path / f"main.{suffix}").write_text("x")
    refuse_other_files(tmp_path)
    (tmp_path / "thesis.pdf").write_text("x")
    with pytest.raises(UsageError, match=r"holds 'thesis\.pdf' beside an earlier bundle"):
        refuse_other_files(tmp_path)


def test_a_folder_of_other_files_is_refused_by_name(tmp_path):
    for place in range(5):
        (tmp_path / f"{place}.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds '0\.tex', '1\.tex', '2\.tex' and 2 more, which is no earlier bundle"):
        refuse_other_files(tmp_path)


def test_checksums_that_name_files_elsewhere_touch_none_of_them(tmp_path):
    mine = tmp_path / "thesis.tex"
    mine.write_text("years of work")
    out, new = tmp_path / "out", made(tmp_path / "made", main="new")
    out.mkdir()
    (out / SUMS_FILE).write_text("0  ../thesis.tex\nnonsense\n")
    refuse_other_files(out)
    put_in_place(new, out)
    assert mine.read_text() == "years of work"
    assert (out / "main").read_text() == "new"


def test_a_changed_file_is_refused_and_a_missing_one_is_not(tmp_path):
    made(tmp_path, main="x", other="y")
    (tmp_path / "other").unlink()
    refuse_other_files(tmp_path)
    (tmp_path / "main").write_text("my edits")
    with pytest.raises(UsageError, match="'main' changed since the bundle was written"):
        refuse_other_files(tmp_path)


def test_links_and_files_in_the_way_are_refused(tmp_path):
    out = made(tmp_path / "out", main="x")
    (out / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="'link' beside"):
        refuse_other_files(out)
    with pytest.raises(UsageError, match="this is a file"):
        refuse_other_files(out / "main")


def test_files_that_the_new_bundle_lacks_are_gone_and_others_stay(tmp_path):
    out = made(tmp_path / "out", main="old", figures__old="old")
    (out / "main.pdf").write_text("by LaTeX")
    put_in_place(made(tmp_path / "new", main="new", tables__t="new"), out)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "main", "main.pdf", "tables/t", SUMS_FILE,
    }  # fmt: skip
    assert set(read_sums(out)) == {"main", "tables/t"}
    assert (out / "main").read_text() == "new"


@pytest.mark.parametrize("num_parameters", [1, 30])
def test_a_caption_says_place_and_notes_once_and_whole_however_many_lines_a_figure_has_of_them(num_parameters):
    place = f"workload({', '.join(f'parameter_{number}=0.5' for number in range(num_parameters))}), adamw"
    note = f"Line: mean over seeds; bar: {'a long word of how it is read, ' * 6}and its end\nDiverged: none"
    summary = loss_summary(results(num_seeds=2))
    drawn = Drawn.of(loss_against_lr, summary, kind="loss_against_lr", title="Final loss", place=place, note=note)
    tex = figure_tex("figures/x.pdf", 3.25, drawn, NO_LABELS.plain)
    (caption,) = re.findall(r"\\caption\{(.*)\}", tex.replace("\\allowbreak{}", "").replace("\\_", "_"))
    assert caption == f"Final loss: {place}. {note.replace(chr(10), '. ')}."
