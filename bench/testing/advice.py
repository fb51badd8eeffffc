"""What to change where the code of an entry raised what PyTorch and Python say in words of their own."""

from __future__ import annotations

import dataclasses
import re
import traceback
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
TRACED = "many models are traced as one"
# By what is raised; the first that fits is said.
ADVICE: dict[str, str] = {
    r"calling \.item\(\)":
        f"a value is looked at, as by float(x), x.item() or math.sqrt(x); use functions of torch: {TRACED}",
    r"data-dependent control flow": f"Python branches on a tensor, as by `if x > 0`; use torch.where: {TRACED}",
    r"dynamic shape": f"a shape depends on values, as that of x[x > 0]; use torch.where: {TRACED}",
    r"randomness error mode": "random numbers are drawn; take them from `draw`, or from bench.randomness",
    r"data pointer of|numpy\(\) on": f"tensors become arrays of NumPy; use functions of torch: {TRACED}",
    r"does not require grad and does not have a grad_fn|not have been used in the graph":
        "no gradient reaches what the function gets; use what it gets, and detach nothing",
    r"not compiled with CUDA|same device|at least two devices|No CUDA GPUs":
        "a tensor is on another device; make tensors by device=q.device, or give them in init_buffers",
    r"no attribute '(register_buffer|register_parameter|parameters|buffers|training)'":
        "an entry is no nn.Module; tensors come from init_params, learned, and init_buffers, fixed, in `state`",
    r"in-place operation|inplace arithmetic": "an input is written to; make new tensors, x = x * 2, not x *= 2",
}  # fmt: skip


def advice(error: Exception | SystemExit) -> str | None:
    """What to change, in words without the place; None where what was raised says it as well as can be."""
    if isinstance(error, NotImplementedError):
        frame = traceback.extract_tb(error.__traceback__)[-1]
        is_left_open = Path(frame.filename).is_relative_to(PACKAGE)
        return f"must override `{frame.name}`, which its base class leaves open" if is_left_open else None
    if isinstance(error, dataclasses.FrozenInstanceError):
        return f"{error}: an entry keeps nothing between calls; what changes is in the tensors that its functions give"
    text = str(error)
    return next((words for pattern, words in ADVICE.items() if re.search(pattern, text)), None)
