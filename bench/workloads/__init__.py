"""WORKLOADS: every workload under its name."""

WORKLOADS: dict[str, str] = {
    "in_context_regression": "bench.workloads.in_context_regression:InContextRegression",
}
