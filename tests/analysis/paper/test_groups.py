"""All scores and pairwise differences as LaTeX: the numbers of the frames, no table wider or longer than a page."""

import re

import pytest

from analysis.paper.groups import differences_group, group_tables, scores_group
from analysis.scores.table import score_differences
from analysis.tables.forms.table import Group, Name, Number, Table, columns, text_of
from tests.analysis.latex_documents import compiled_body, complaints
from tests.analysis.synthetic_results import METHODS, results, subject

FEW = {name: METHODS[name] for name in ("softmax", "relu_kernel", "elu_kernel")}


@pytest.fixture(scope="module")
def entries():
    return subject(results(num_seeds=3, methods=FEW)).entries


def test_every_pair_has_its_difference_and_the_better_is_bold(entries):
    found = score_differences(entries, "lr_sensitivity")
    (table,) = differences_group(entries, "lr_sensitivity").tables
    assert [(text_of(row[0]), text_of(row[1])) for row in table.rows] == list(found.select("first", "second").rows())
    assert [row[2].value for row in table.rows if isinstance(row[2], Number)] == found["difference"].to_list()
    better = [tuple(isinstance(cell, Name) and cell.is_best for cell in row[:2]) for row in table.rows]
    assert better == [(verdict == "first better", verdict == "second better") for verdict in found["verdict"]]
    assert (True, False) in better or (False, True) in better


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
