"""What attention each method of a suite computes on each workload, for what theorems say of it."""

from __future__ import annotations

from analysis.scores.causes.theory import ATTENTION_COLUMNS
from bench.entry import build
from bench.lazy import polars
from bench.methods import METHODS
from bench.methods.base import Method
from bench.methods.kernel import ReluKernel
from bench.methods.shaped_logits import ShapedLogits
from bench.methods.softmax import Softmax
from bench.suite import Suite
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload


def attentions(suite: Suite) -> polars.DataFrame:
    """ATTENTION_COLUMNS, a row for each workload and method."""
    rows = []
    for workload_choice in suite.entries["workloads"]:
        workload: Workload = build(WORKLOADS, workload_choice)
        heads, mask = workload.attention
        for choice in suite.entries["methods"]:
            method: Method = build(METHODS, choice)
            is_whole = type(method).restrict is Method.restrict
            rows.append(
                {
                    "workload": workload_choice.label,
                    "method": choice.label,
                    "rows": _rows_of(method),
                    "num_keys": heads.num_keys,
                    "width": heads.width,
                    "sees_all": is_whole and mask == "full",
                    "is_causal": is_whole and mask == "causal",
                }
            )
    return polars.DataFrame(rows, schema=ATTENTION_COLUMNS)


def _rows_of(method: Method) -> str:
    if isinstance(method, ReluKernel):
        return "relu_kernel" if method.rows_sum_to_one else ""
    return "softmax" if isinstance(method, Softmax | ShapedLogits) and method.rows_sum_to_one else ""
