import json

import pytest

from bench.entry import load_class
from bench.methods import METHODS
from bench.suite.catalog import LISTS, USE_WHEN, list_markdown, list_rows
from tests.command_line import bench_here


@pytest.mark.parametrize("kind", LISTS)
def test_markdown_has_a_line_for_every_row_and_as_many_cells_as_titles(kind):
    titles, rule, *lines = list_markdown(kind).splitlines()
    cells = [line.replace(r"\|", "").count("|") for line in (titles, rule, *lines)]
    assert set(cells) == {cells[0]}
    assert [line.split("`")[1] for line in lines] == [row["name"] for row in list_rows(kind)]


def test_markdown_says_what_text_and_json_leave_out():
    lines = {line.split("`")[1]: line for line in list_markdown("methods").splitlines()[2:]}
    assert "| no |" in lines["sigmoid_attention"]
    assert "| yes |" in lines["softmax"]
    assert "rows sum to 1" not in list_rows("methods")[0]


def test_lists_say_what_a_method_is_in_cross_attention():
    rows = {row["name"]: row for row in list_rows("methods")}
    assert rows["window_softmax"]["in cross-attention"] == "in cross-attention: plain softmax"
    assert rows["cosformer"]["in cross-attention"] == "in cross-attention: as it is"


def test_markdown_shows_formulas_as_they_are_written_and_keeps_code():
    text = list_markdown("methods") + list_markdown("schedules")
    assert r"Softmax of -\|q - k\|^2 / sqrt(D)" in text
    assert "A line from 1 to `final_fraction`." in text


@pytest.mark.parametrize("kind", LISTS)
def test_markdown_has_no_empty_column(kind):
    titles, _, *lines = ([cell.strip() for cell in line.split(" | ")] for line in list_markdown(kind).splitlines())
    for place, _ in enumerate(titles):
        assert any(line[place].strip("| ") for line in lines)


def test_the_command_prints_the_table_alone(tmp_path):
    printed = bench_here(tmp_path, "list", "schedules", "--format", "md")
    assert (printed.returncode, printed.stdout, printed.stderr) == (0, list_markdown("schedules"), "")


def test_two_formats_at_once_are_refused(tmp_path):
    refused = bench_here(tmp_path, "list", "schedules", "--format", "md", "--json")
    assert refused.returncode == 2
    assert "--json" in refused.stderr
    assert json.loads(bench_here(tmp_path, "list", "schedules", "--json").stdout) == list_rows("schedules")


def test_every_shipped_method_says_when_to_use_it_in_words_of_its_own():
    words = {name: load_class(target).__dict__["use_when"] for name, target in METHODS.items()}
    assert all(words.values())
    assert len(set(words.values())) == len(METHODS)
    assert all(row[USE_WHEN] == words[row["name"]] for row in LISTS["methods"]())
