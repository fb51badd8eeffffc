"""SEARCHES: every adaptive search under its name."""

SEARCHES: dict[str, str] = {
    "edge": "bench.search.edge:Edge",
    "sensitivity": "bench.search.sensitivity:Sensitivity",
    "tune": "bench.search.tune:Tune",
    "tune_box": "bench.search.tune_box:TuneBox",
}
