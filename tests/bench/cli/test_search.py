"""Values of other knobs at which a search of the command line is repeated."""

import pytest

from bench.cli.search import listed_values
from bench.errors import UsageError


def test_values_are_whole_numbers_where_they_are_written_so():
    assert listed_values(["warmup_steps=0,100", "weight_decay = 0.1, 1e-3"]) == {
        "warmup_steps": [0, 100],
        "weight_decay": [0.1, 1e-3],
    }


@pytest.mark.parametrize("text", ["warmup_steps", "warmup_steps=", "warmup_steps=a", "lr=0.1,1"])
def test_what_is_no_list_of_another_knob_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"--at .*required .*as warmup_steps=0,100,500"):
        listed_values([text])
