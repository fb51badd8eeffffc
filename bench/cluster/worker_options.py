"""WorkerOptions: how every worker of a round trains, from the driver to the workers."""

from __future__ import annotations

from dataclasses import dataclass

from bench.cluster.checkpoints import Checkpoints
from bench.training.aborting import Watch
from bench.training.inductor import Compiling
from bench.training.pruning import Pruning


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How every worker of a round trains.

    timeout_s: a worker that gives no sign of life for so long is ended (0: never). is_reference, compiling, watch and
    pruning: as PackRun has them.
    """

    checkpoints: Checkpoints
    timeout_s: float = 0.0
    is_reference: bool = False
    compiling: Compiling = "auto"
    watch: Watch | None = None
    pruning: Pruning | None = None
