"""Tables on a terminal."""

import polars as pl
import pytest

from bench.cli.progress import terminal_table


@pytest.mark.parametrize("name", ["[/b]", "[bold]softmax[/bold]", ":smile:", "[1, 2]"])
def test_a_name_is_shown_as_it_is(name):
    table = terminal_table(pl.DataFrame({"workload": ["w"], "method": [name], "score": [1.5]}))
    assert [line.split() for line in table.splitlines()] == [["w"], ["method", "score"], [*name.split(), "1.5"]]
