"""What is said of an error of the code of an entry."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from bench.errors import reason


def looks_at_values(x):
    return x * float(x.sum())


def test_a_reason_names_what_was_raised_and_where():
    with pytest.raises(ValueError, match="boom") as caught:
        torch.utils._pytree.tree_map(lambda x: raising("boom\n"), [1])
    assert reason(caught.value).startswith("ValueError: boom (test_reason.py:")
    assert reason(caught.value).endswith(" in raising)")


def raising(text):
    raise ValueError(text)


def test_the_reason_of_an_error_inside_of_torch_names_the_line_that_called_it():
    with pytest.raises(RuntimeError) as caught:
        make_fx(looks_at_values)(torch.ones(2))
    assert reason(caught.value).endswith(" in looks_at_values)")
    assert "(test_reason.py:" in reason(caught.value)
