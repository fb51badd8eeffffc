"""A misspelt name is answered with the nearest one that exists, or with all of them."""

import pytest

from bench.errors import UsageError, did_you_mean, unknown

NAMES = {"softmax": 1, "linear": 2}


@pytest.mark.parametrize(("got", "expected"), [("softmx", "; did you mean 'softmax'?"), ("relu_kernel", "")])
def test_the_nearest_name_is_suggested(got, expected):
    assert did_you_mean(got, NAMES) == expected


def test_an_unknown_name_is_told_what_exists():
    found = unknown("method", "softmx", NAMES)
    assert isinstance(found, UsageError)
    assert str(found) == "unknown method 'softmx'; did you mean 'softmax'? (there are softmax, linear)"
