"""Training on Ray Tune: what happens on the driver."""

import threading
from pathlib import Path

import pytest

from bench.cluster.checkpoints import Checkpoints
from bench.cluster.connect import Resources, ray_cluster
from bench.cluster.schedule import run_packs
from bench.cluster.worker_options import WorkerOptions
from bench.errors import BudgetError
from bench.suite import load_suite
from bench.training.pack import make_packs

SUITE = """
name: tiny
workloads: [{name: in_context_regression, num_steps: 2, final_loss_steps: 1, batch_size: 2, depth: 1, num_pairs: 2}]
methods: [softmax]
optimizers: [sgd]
knobs: {lr: [0.1]}
seeds: 1
probe_every: 1
"""


@pytest.mark.slow
def test_an_error_of_the_store_ends_training_as_itself(tmp_path: Path) -> None:
    def keep(*finished: object) -> None:
        raise BudgetError("no space left")

    (tmp_path / "tiny.yaml").write_text(SUITE)
    with ray_cluster(), pytest.raises(BudgetError, match="no space left"):
        run_packs(
            make_packs(load_suite(tmp_path / "tiny.yaml").expand(), max_lanes=1),
            resources=Resources(cpus=1, gpus=0),
            storage=tmp_path,
            options=WorkerOptions(checkpoints=Checkpoints(uri=str(tmp_path / "checkpoints"), token="", variant="cpu")),
            stop=threading.Event(),
            on_finished=keep,
            on_progress=lambda progress: None,
        )
