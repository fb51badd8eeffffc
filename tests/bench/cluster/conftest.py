"""A real Ray cluster for tests that are slow anyway."""

import os
from collections.abc import Iterator

import pytest

from tests.faults.clusters import RayCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    """A head and one worker, which export their metrics every second."""
    variables = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "RAY_metrics_report_interval_ms": "1000"}
    made = RayCluster(num_nodes=1, environment=variables)
    yield made
    made.close()
