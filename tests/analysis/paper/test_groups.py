"""All scores and pairwise differences as LaTeX: the numbers of the frames, no table wider or longer than a page."""

import re
from dataclasses import replace

import polars as pl
import pytest

from analysis.paper.groups import differences_group, group_tables, scores_group
from analysis.paper.widths import page_wide
from analysis.scores.table import score_differences
from analysis.tables.forms.table import Column, Group, Name, Number, Table, columns, text_of
from tests.analysis.latex_documents import compiled_body, complaints
from tests.analysis.synthetic_results import METHODS, results, subject

FEW = {name: METHODS[name] for name in ("softmax", "relu_kernel", "elu_kernel")}


@pytest.fixture(scope="module")
def entries():
    return subject(results(num_seeds=3, methods=FEW)).entries


def test_every_pair_has_its_difference_and_the_better_is_bold(entries):
    found = score_differences(entries, "lr_sensitivity")
    (table,) = differences_group(entries, "lr_sensitivity").tables
    names = [[name.removesuffix(", sgd") for name in row] for row in found.select("first", "second").rows()]
    assert [[text_of(cell) for cell in row[:2]] for row in table.rows] == names
    assert [row[2].value for row in table.rows if isinstance(row[2], Number)] == found["difference"].to_list()
    better = [tuple(isinstance(cell, Name) and cell.is_best for cell in row[:2]) for row in table.rows]
    assert better == [(verdict == "first better", verdict == "second better") for verdict in found["verdict"]]
    assert (True, False) in better or (False, True) in better


def test_pairs_say_the_optimizer_where_there_are_several():
    data = results(num_seeds=2, methods={"softmax": METHODS["softmax"]})
    both = pl.concat([data, data.with_columns(optimizer=pl.lit("adamw"), trial_id=pl.col("trial_id") + "-adamw")])
    (table,) = differences_group(subject(both).entries, "lr_sensitivity").tables
    assert [text_of(cell) for cell in table.rows[0][:2]] == ["softmax, adamw", "softmax, sgd"]


@pytest.mark.whole
def test_scores_and_differences_compile_within_the_page(tmp_path, entries):
    tables = group_tables(scores_group(entries, "train"), "scores")
    tables += group_tables(differences_group(entries, "lr_sensitivity"), "differences")
    assert complaints(compiled_body(tmp_path, "\n".join(tables))) == []


def test_what_fits_stands_in_a_column_and_long_tables_go_on():
    narrow, wide = (
        Table(heading="h", columns=columns("Method", "Value"), rows=tuple((name, str(n)) for n in range(90)))
        for name in ("softmax", "a_long_name" * 6)
    )
    first, second, third = group_tables(Group(tables=(narrow,), note="How to read."), "x")
    assert all(part.startswith(r"\begin{table}") for part in (first, second, third))
    assert [part.count(r"\\") for part in (first, second, third)] == [41, 41, 11]
    assert "How to read" in first
    assert "How to read" not in second + third
    assert "h, continued" in second
    assert re.findall(r"\\label\{(.*)\}", first + second + third) == ["tab:x", "tab:x-2", "tab:x-3"]
    assert group_tables(Group(tables=(wide,), note=""), "x")[0].startswith(r"\begin{table*}")


def test_of_one_method_there_are_no_differences():
    alone = subject(results(num_seeds=2, methods={"softmax": METHODS["softmax"]})).entries
    assert group_tables(differences_group(alone, "lr_sensitivity"), "differences") == []


def test_a_table_that_no_page_is_wide_enough_for_goes_on_with_its_names():
    shown = [Column(title=f"c{place}", is_name=False, name=f"c{place}") for place in range(9)]
    names = Column(title="Method", is_name=True, name="method")
    rows = tuple((f"m{row}", *(f"{row}.{place} [0.123, 0.456]" for place in range(9))) for row in range(3))
    table = Table(heading="Wide", columns=(names, *shown), rows=rows)
    parts = page_wide(table)
    assert len(parts) > 1
    assert all(part.columns[0] == names for part in parts)
    assert [column for part in parts for column in part.columns[1:]] == shown
    assert [[row[0] for row in part.rows] for part in parts] == [["m0", "m1", "m2"]] * len(parts)
    assert [cell for part in parts for cell in part.rows[2][1:]] == list(rows[2][1:])
    assert page_wide(replace(table, columns=table.columns[:4], rows=tuple(row[:4] for row in rows))) == [
        replace(table, columns=table.columns[:4], rows=tuple(row[:4] for row in rows))
    ]


def test_one_column_that_is_wider_than_a_page_stands_alone():
    names, wide = (Column(title=title, is_name=title == "Method", name=title) for title in ("Method", "Words"))
    table = Table(heading="Wide", columns=(names, wide, replace(wide, name="more")), rows=(("m", "x" * 300, "y"),))
    assert [[column.name for column in part.columns] for part in page_wide(table)] == [
        ["Method", "Words"],
        ["Method", "more"],
    ]


def test_long_lists_are_broken_and_take_no_page_of_their_own(tmp_path):
    columns = [Column(title=title, is_name=title == "Method", name=title) for title in ("Method", "At", "Trials")]
    setting = ", ".join(f"weight_decay_{place}=0.001234" for place in range(9))
    table = Table(heading="Answers", columns=tuple(columns), rows=(("softmax", setting, "40"),))
    (text,) = group_tables(Group(tables=(table,), note=""), "answers")
    assert r"\begin{tabular}{l>{\raggedright\arraybackslash}p{192pt}r}" in text
    assert complaints(compiled_body(tmp_path, text)) == []


def test_further_parts_say_once_that_they_are_continued():
    names, wide = (Column(title=title, is_name=title == "Method", name=title) for title in ("Method", "Words"))
    columns = (names, *(replace(wide, name=f"w{place}") for place in range(3)))
    table = Table(heading="Scores, continued", columns=columns, rows=(("m", "x" * 99, "y" * 99, "z" * 99),))
    texts = group_tables(Group(tables=(table,), note=""), "scores")
    assert len(texts) == 3
    assert all(text.count("continued") == 1 for text in texts)
