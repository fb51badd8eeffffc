"""Tables: structure, escaping, digits and marks."""

import csv
import html.parser
import io
import json
import re

import polars as pl
import pytest

from analysis.scores.leaderboard import LEADERBOARD_COLUMNS, leaderboard
from analysis.tables.leaderboard import FORMATS, terminal_frames
from analysis.text import decimals, escape_latex, escape_markdown, interval_decimals, number
from tests.analysis.synthetic_results import METHODS, frame, results, row, with_held_out

HOSTILE = 'a_b%&$#{}~^\\|<script>alert("1")</script>`*'


@pytest.fixture(scope="module")
def board() -> pl.DataFrame:
    return leaderboard(results(num_seeds=3))


@pytest.fixture(scope="module")
def hostile() -> pl.DataFrame:
    rows = [row(HOSTILE, lr, seed, loss, workload=HOSTILE) for lr, loss in ((1e-5, 1.0), (1.0, 2.0)) for seed in (0, 1)]
    return leaderboard(frame(rows))


def test_latex_is_booktabs_with_as_many_cells_as_columns(board):
    text = FORMATS["latex"](board)
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"\label{", r"\begin{tabular}"):
        assert text.count(command) == 1
    (columns,) = re.findall(r"\\begin{tabular}{([lr]+)}", text)
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") + 1 for line in lines} == {len(columns)}
    assert len(lines) == 1 + board.height
    assert text.count("{") == text.count("}")


def test_latex_has_the_best_in_bold_once_a_workload(board):
    text = FORMATS["latex"](board)
    assert re.findall(r"\\textbf{([^}]*)}", text)[0] == r"relu\_kernel"
    assert text.count(r"\textbf{") == 2  # method and score


def test_latex_names_several_workloads(board):
    both = pl.concat([board, board.with_columns(workload=pl.lit("other"))])
    assert FORMATS["latex"](both).count(r"\multicolumn") == 2


def test_latex_escapes_every_special_character(hostile):
    text = FORMATS["latex"](hostile)
    assert escape_latex(HOSTILE) in text
    escaped = escape_latex(HOSTILE)
    assert not re.search(r"(?<!\\)[%&$#_]", escaped)
    assert "<" not in escaped
    assert r"$1 \times 10^{-5}$" in text


def test_markdown_rows_have_as_many_cells_as_the_header(board, hostile):
    for table in (board, hostile):
        lines = [line for line in FORMATS["markdown"](table).splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert len(lines) == table.height + 2


def test_no_format_for_readers_lets_a_tag_through(hostile):
    for form in ("markdown", "html", "latex"):
        assert "<script" not in FORMATS[form](hostile)


def test_html_is_balanced_and_keeps_the_name(hostile):
    class Reader(html.parser.HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.text = ""

        def handle_starttag(self, tag, attrs) -> None:
            if tag != "wbr":
                self.open.append(tag)

        def handle_endtag(self, tag) -> None:
            assert self.open.pop() == tag

        def handle_data(self, data) -> None:
            self.text += data

    reader = Reader()
    reader.feed(FORMATS["html"](hostile))
    assert reader.open == []
    assert HOSTILE in reader.text


def test_csv_and_json_carry_every_digit(board):
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](board))))
    objects = json.loads(FORMATS["json"](board))
    assert list(rows[0]) == list(objects[0]) == list(LEADERBOARD_COLUMNS)
    assert [float(entry["lr_sensitivity"]) for entry in rows] == board["lr_sensitivity"].to_list()
    assert objects == board.to_dicts()


def test_interval_and_digits(board):
    first = board.row(0, named=True)
    places = interval_decimals(first["ci_low"], first["ci_high"], 0)
    value, low, high = (f"{first[name]:.{places}f}" for name in ("lr_sensitivity", "ci_low", "ci_high"))
    text = FORMATS["markdown"](board)
    assert f"\\[{low}, {high}\\]" in text
    assert value in text
    half = (first["ci_high"] - first["ci_low"]) / 2
    assert 10 <= half * 10**places < 100  # two significant digits of half the width


def test_ties_share_a_range_of_ranks():
    losses = {0.1: [1.0, 1.1, 0.9], 1.0: [2.0, 2.1, 1.9]}
    rows = [
        row(method, lr, seed, loss + shift * lr * (1.5 - seed))
        for method, shift in (("a", 0.0), ("b", 0.02))
        for lr, of_seed in losses.items()
        for seed, loss in enumerate(of_seed)
    ]
    tied = leaderboard(frame(rows))
    assert tied.select("rank", "rank_worst").rows() == [(1, 2), (1, 2)]
    table = [line for line in FORMATS["markdown"](tied).splitlines() if line.startswith("| 1-2 ")]
    assert ["**" in line for line in table] == [True, False]


def test_unranked_entry_is_not_bold():
    stuck = leaderboard(frame([row("m", lr, seed, 4.0) for lr in (0.1, 1.0) for seed in (0, 1, 2)]))
    line = next(line for line in FORMATS["markdown"](stuck).splitlines() if line.startswith("| – "))
    assert "**" not in line
    assert "at chance" in line


def test_one_seed_is_bold_only_where_no_entry_has_more():
    once = [row("once", lr, 0, loss) for lr, loss in ((0.1, 1.0), (1.0, 1.1))]
    many = [row("many", lr, seed, loss) for lr, loss in ((0.1, 1.0), (1.0, 1.2)) for seed in (0, 1, 2)]
    for rows, best in ((once, "once"), (once + many, "many")):
        (line,) = (line for line in FORMATS["markdown"](leaderboard(frame(rows))).splitlines() if "**" in line)
        assert f"**{best}**" in line


def test_notes_say_where_entries_are_compared_unpaired():
    rows = [row("a", lr, seed, lr + seed / 10) for lr in (0.1, 1.0) for seed in (0, 1, 2)]
    others = [row("b", lr, seed, lr + seed / 10) for lr in (0.1, 1.0) for seed in (3, 4, 5)]
    for form in ("latex", "markdown", "html"):
        assert "unpaired" not in FORMATS[form](leaderboard(frame(rows)))
        assert "unpaired by Welch" in FORMATS[form](leaderboard(frame(rows + others)))


def test_caption_states_definition_seeds_interval_and_flags():
    board = leaderboard(results(num_seeds=2))
    for form in ("latex", "markdown"):
        text = FORMATS[form](board)
        for words in ("mean over the learning rates", "interval over seeds (2;", "Holm", "few seeds: Fewer than 3"):
            assert words in text


@pytest.mark.parametrize("form", ["latex", "markdown", "html"])
@pytest.mark.parametrize(("loss", "words"), [("train", "Scores are of the training loss"), ("validation", "held-out")])
def test_tables_say_which_loss_it_is(form, loss, words):
    assert words in FORMATS[form](leaderboard(with_held_out(results(num_seeds=2)), loss=loss))


@pytest.mark.parametrize("form", ["latex", "markdown", "html"])
def test_tables_for_readers_end_with_held_out_measures_where_there_are_any(form):
    data = results(num_seeds=2)
    without, with_ = (FORMATS[form](leaderboard(frame_)) for frame_ in (data, with_held_out(data)))
    assert "Calibration error" not in without
    assert with_.startswith(without)
    assert "Calibration error" in with_[len(without) :]


def test_terminal_shows_nothing_of_held_out_data_that_are_not_there(board):
    (scores,) = terminal_frames(board)
    shown = list(LEADERBOARD_COLUMNS)[: list(LEADERBOARD_COLUMNS).index("loss")]
    assert scores.columns == [name for name in shown if name not in ("rank_worst", "blown_up_loss")]
    assert scores.drop("rank").equals(board.select(scores.columns).drop("rank"))
    assert scores["rank"].to_list() == [
        str(low) if low == high else f"{low}-{high}" for low, high in board.select("rank", "rank_worst").iter_rows()
    ]


@pytest.mark.parametrize(("loss", "title"), [("train", "training loss"), ("validation", "held-out loss")])
def test_terminal_shows_held_out_measures_in_a_table_of_their_own(loss, title):
    data = pl.concat([with_held_out(results(num_seeds=2)), results(num_seeds=2).with_columns(workload=pl.lit("other"))])
    data = data.with_columns(trial_id=pl.col("trial_id") + pl.col("workload"))
    if loss == "validation":
        data = data.filter(pl.col("workload") != "other")
    scores, measured = terminal_frames(leaderboard(data, loss=loss))
    assert all(heading.endswith(f": scores of the {title}") for heading in scores["workload"])
    assert set(measured["workload"]) == {"in_context_regression: on held-out data at each best_lr"}
    names = ["method", "optimizer", "knobs", "best_lr", "val_loss", "ci_low", "ci_high", "val_accuracy"]
    assert measured.columns == ["workload", *names, "val_calibration_error", "generalisation_gap"]
    assert sorted(measured["method"]) == sorted(METHODS)


def test_terminal_shows_every_measure_whether_or_not_there_is_a_held_out_loss():
    data = with_held_out(results(num_seeds=2)).with_columns(val_loss=None, initial_val_loss=None)
    _, measured = terminal_frames(leaderboard(data))
    assert {"val_accuracy", "val_calibration_error"} <= set(measured.columns)


@pytest.mark.parametrize(
    ("values", "significant", "places"),
    [([123.0], 3, 0), ([0.04], 3, 4), ([1.0, 0.001], 2, 1), ([0.0], 3, 2), ([], 2, 1)],
)
def test_decimals_show_the_largest_value(values, significant, places):
    assert decimals(values, significant) == places


@pytest.mark.parametrize(
    ("value", "places", "text"), [(None, 2, "–"), (-0.001, 2, "0.00"), (-0.011, 2, "-0.01"), (3, 0, "3")]
)
def test_number(value, places, text):
    assert number(value, places) == text


def test_what_blew_up_stands_beside_what_diverged_where_anything_did():
    calm = [row("m", lr, seed, lr) for lr in (0.1, 1.0) for seed in (0, 1)]
    blown_up = [row("b", lr, seed, 1.0 if lr < 1 else 50.0) for lr in (0.1, 1.0) for seed in (0, 1)]
    for form in ("latex", "markdown", "html"):
        assert "Blown up" not in FORMATS[form](leaderboard(frame(calm)))
        text = FORMATS[form](leaderboard(frame(calm + blown_up)))
        assert "Blown up" in text
        assert "50%" in text.replace("\\", "")
        assert "blown up" in text


def test_every_format_takes_an_empty_leaderboard():
    empty = leaderboard(frame([]))
    assert all(isinstance(write(empty), str) for write in FORMATS.values())


def test_markdown_escape_keeps_one_line():
    assert "\n" not in escape_markdown("a\nb")


def test_how_imported_losses_were_measured_is_what_their_files_say(board):
    flags = board["flags"]
    one = pl.Series("flags", [",".join(filter(None, (flags[0], "imported"))), *flags[1:]])
    every = pl.Series("flags", ["imported"] * board.height)
    told = {name: FORMATS["latex"](board.with_columns(column)) for name, column in (("one", one), ("every", every))}
    assert "training loss (mean over the last steps)." in FORMATS["latex"](board)
    assert "training loss (mean over the last steps; of imported runs, as their files state it)." in told["one"]
    assert "training loss (as the files of these imported runs state it)." in told["every"]
