"""Tables for a paper: they compile without a box too wide, align, and mark the best and its ties."""

import re

import polars as pl
import pytest

from analysis.paper.latex import leaderboard_tables
from analysis.paper.matrix import matrix_tables
from analysis.paper.table_words import tables_text
from analysis.scores.leaderboard import leaderboard
from analysis.scores.seeds.rank_ranges import rank_text
from analysis.text import breakable_latex
from tests.analysis.latex_documents import compiled_body, complaints
from tests.analysis.synthetic_results import METHODS, frame, results, row

HOSTILE = "a_b%&$#{}~^\\|<script>\"'`[*] é×–≤αλ"


def with_optimizers(names, *, num_seeds=3):
    base = results(num_seeds=num_seeds)
    shift = pl.col("final_loss") * pl.lit(1.0)
    return {name: base.with_columns(optimizer=pl.lit(name), final_loss=shift * (1 + place / 50),
            trial_id=pl.concat_str(pl.lit(name), "trial_id")) for place, name in enumerate(names)}  # fmt: skip


@pytest.fixture(scope="module")
def board():
    return leaderboard(results(num_seeds=3))


def cells(table):
    """Cells of the rows between \\midrule and \\bottomrule."""
    inner = table.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    return [line.removesuffix(r" \\").split(" & ") for line in inner.strip().splitlines()]


def test_the_best_is_bold_and_each_has_its_rank_range(board):
    (table,) = leaderboard_tables(board)
    rows = cells(table)
    assert len(rows) == board.height
    assert [r"\bfseries" in " ".join(row) for row in rows] == [True] + [False] * (board.height - 1)
    ranks = [rank_text(*ends) for ends in board.select("rank", "rank_worst").iter_rows()]
    assert [row[0] for row in rows] == ranks
    assert any("-" in text for text in ranks)


def test_the_caption_has_two_lines_and_says_how_to_read_the_table(board):
    (table,) = leaderboard_tables(board)
    (caption,) = re.findall(r"\\caption\{(.*)\}", table)
    for words in (
        "scores of the training loss",
        r"95\% interval over 3 seeds",
        "bold: the best",
        "rank: the ranks that",
    ):
        assert words in caption
    assert len(caption.replace(r"\allowbreak{}", "")) < 2 * 120
    assert r"\label{tab:leaderboard}" in table


def test_the_methods_text_defines_columns_and_flags_once(board):
    flagged = board.with_columns(flags=pl.Series(["few_seeds,other_grid", "few_seeds"] + [""] * (board.height - 2)))
    (text,) = tables_text(flagged)
    assert isinstance(text, str)
    assert text.count("Fewer than 3 seeds") == 1
    assert "stable decades is the width in log10 lr" in text
    assert "Fewer than 3 seeds" not in "".join(leaderboard_tables(flagged))
    assert "Letters" not in str(tables_text(board.with_columns(flags=pl.lit("")))[0])


def test_the_spread_over_seeds_stands_behind_the_best_loss(board):
    spreads = pl.Series("final_loss_spread", [0.123, None, *[0.04] * (board.height - 2)])
    (table,) = leaderboard_tables(board.with_columns(spreads))
    (plain,) = leaderboard_tables(board)
    heads, widths = ([row[:7] for row in cells(one)] for one in (table, plain))
    assert [row[5] for row in heads][:3] == ["0.12", "--", "0.04"]
    assert [row[:5] for row in heads] == [row[:5] for row in widths]


def test_tables_load_no_package(board):
    tables = [*leaderboard_tables(board), *matrix_tables({"a": board, "b": board.with_columns(optimizer=pl.lit("b"))})]
    assert not any("usepackage" in table for table in tables)


def test_numbers_align_at_the_point_by_the_widest_of_their_column(board):
    (table,) = leaderboard_tables(board.with_columns(best_loss=pl.Series([12.345, 0.1] + [1.0] * (board.height - 2))))
    assert "S[table-format=2.1]" in table


def test_flags_are_letters_with_their_words_below(board):
    flagged = board.with_columns(flags=pl.Series(["few_seeds,other_grid", "few_seeds"] + [""] * (board.height - 2)))
    (table,) = leaderboard_tables(flagged)
    assert r"\textsuperscript{ab}" in table.splitlines()[table.splitlines().index(r"\midrule") + 1]
    assert r"\textsuperscript{a}\,few seeds, \textsuperscript{b}\,other grid" in table


def test_long_boards_are_continued_in_a_further_table(board):
    many = pl.concat([board.with_columns(knobs=pl.lit(f"warmup_steps={place}.0")) for place in range(7)])
    (text,) = leaderboard_tables(many)
    assert text.count(r"\begin{table*}") == 2
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == len(labels) == 2
    assert sum(len(cells(part)) for part in text.split(r"\begin{table*}")[1:]) == many.height


def test_matrix_marks_best_and_ranks_with_each_optimizer(board):
    parts = with_optimizers(["sgd", "adamw"])
    boards = {name: leaderboard(part) for name, part in parts.items()}
    (table,) = matrix_tables(boards)
    rows = cells(table)[::2]
    assert {row[0] for row in rows} == {breakable_latex(name) for name in METHODS}
    for column, name in enumerate(("adamw", "sgd"), start=1):
        bold = [row[0] for row in rows if r"\textbf" in row[column]]
        assert bold == [breakable_latex(boards[name].sort("lr_sensitivity")["method"][0])]
        found = {row[0]: re.findall(r"textsuperscript\{(.*?)\}", row[column]) for row in rows}
        ranks = boards[name].select("method", "rank", "rank_worst").iter_rows()
        assert found == {breakable_latex(method): [rank_text(*ends)] for method, *ends in ranks}


def test_matrix_of_one_optimizer_is_none(board):
    assert matrix_tables({"sgd": board}) == []


def test_matrix_turns_where_optimizers_are_many_and_splits_where_both_are(board):
    boards = {f"o{place}": board.with_columns(optimizer=pl.lit(f"o{place}")) for place in range(9)}
    (turned,) = matrix_tables(boards)
    assert [row[0] for row in cells(turned)[::2]] == sorted(boards)
    wide = pl.concat([board, board.with_columns(method=pl.concat_str("method", pl.lit("_2")))])
    boards = {f"o{place:02}": wide.with_columns(optimizer=pl.lit(f"o{place:02}")) for place in range(12)}
    assert len(matrix_tables(boards)) == 2


@pytest.mark.whole
def test_every_hostile_name_compiles_within_the_page(tmp_path):
    rows = [
        row(f"{HOSTILE}{place}", lr, seed, float(place), workload=HOSTILE, optimizer=optimizer)
        for place in range(3)
        for lr in (1e-5, 1.0)
        for seed in (0, 1)
        for optimizer in (HOSTILE, "[sgd]")
    ]
    long = [row("a_name_that_goes_on(and_on=1.0, and_on_without_end=2.0)" * 2, lr, 0, 1.0, workload=HOSTILE,
            optimizer="[sgd]") for lr in (1e-5, 1.0)]  # fmt: skip
    board = leaderboard(frame([*rows, *long]))
    tables = leaderboard_tables(board) + matrix_tables(
        {str(name): part for (name,), part in board.group_by("optimizer")}
    )
    latin = " ".join(chr(code) for code in range(0x20, 0x100))
    body = "\n\n".join([breakable_latex(latin), breakable_latex(HOSTILE), *tables])
    assert complaints(compiled_body(tmp_path, body)) == []


@pytest.mark.whole
def test_odd_numbers_compile_within_the_page(tmp_path, board):
    odd = [1e308, float("nan"), float("inf"), -1e308, -123456.0, 1e-300, None]
    columns = ("ci_low", "ci_high", "best_lr", "stable_decades")
    moved = {name: pl.Series(name, odd[place:] + odd[:place], pl.Float64) for place, name in enumerate(columns)}
    broken = board.with_columns(**moved, lr_sensitivity=1e308, best_loss=-1e308).with_columns(
        pl.col("stable_decades", "best_lr").fill_null(0.0),
        ci_low=pl.when(pl.col("ci_high").is_not_null()).then("ci_low"),
    )
    tables = leaderboard_tables(broken)
    assert r"$1.00 \times 10^{308}$" in tables[0]
    assert complaints(compiled_body(tmp_path, tables[0])) == []


@pytest.mark.whole
def test_a_board_with_many_optimizers_and_knobs_fits_the_page(tmp_path, board):
    names = [f"schedule_free_adamw_{place}" for place in range(9)]
    boards = {name: board.with_columns(optimizer=pl.lit(name), knobs=pl.lit("warmup_steps=100.0, weight_decay=0.1"))
              for name in names}  # fmt: skip
    text = "\n".join([*leaderboard_tables(pl.concat(boards.values())), *matrix_tables(boards)])
    assert complaints(compiled_body(tmp_path, text)) == []
