"""What all figures share: a long subtitle breaks between words, so that no label of a workload widens a figure."""

from analysis.figures import of_a_suite
from analysis.figures.frames.aggregate import loss_summary
from analysis.figures.lr_loss import loss_against_lr
from analysis.figures.style.chart_style import LINE_LETTERS, NARROW_LETTERS, subtitle_lines, whole_lines
from tests.analysis.synthetic_results import results

PLACE = "language_modeling(" + ", ".join(f"parameter_{place}=0.{place}" for place in range(30)) + "), adamw"


def test_a_long_line_breaks_between_words_and_loses_none():
    lines = subtitle_lines(PLACE)
    assert len(lines) > 2
    assert max(len(line.rstrip()) for line in lines) <= LINE_LETTERS
    assert "".join(lines) == PLACE
    assert whole_lines([*lines, "a note", *lines]) == [PLACE, "a note", PLACE]


def test_a_short_line_stays_as_it_is():
    assert subtitle_lines("two  spaces") == ["two  spaces"]
    assert subtitle_lines("") == []


def test_a_figure_of_a_long_label_has_several_lines_below_its_title():
    chart = loss_against_lr(loss_summary(results(num_seeds=2)), title="t", subtitle=f"{PLACE}\nnote").to_dict()
    assert chart["title"]["subtitle"] == [*subtitle_lines(PLACE, NARROW_LETTERS), "note"]


def test_notes_below_titles_are_short_enough_to_stay_sentences():
    notes = [text for name, text in vars(of_a_suite).items() if name.endswith("_NOTE")]
    assert notes
    assert max(len(line) for note in notes for line in note.split("\n")) <= LINE_LETTERS
