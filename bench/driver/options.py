"""Options: how a suite is run, and what of it every worker gets."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from bench.cluster.checkpoints import Checkpoints
from bench.cluster.worker_options import WorkerOptions
from bench.results.thresholds import Abort
from bench.store import CURVE_POINTS
from bench.training.inductor import Compiling
from bench.training.pruning import Pruning
from bench.trial import canonical_json


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a suite is run; none of it changes a result.

    address: of a Ray cluster; else RAY_ADDRESS, else one is started here. is_insecure: also one that lets anybody in.
    num_gpus: GPUs to wait for, which an autoscaling cluster is asked for; else what is there is used.
    max_lanes: the most trials of a pack; else by the device.
    is_reference: attention by the dense reference alone, no fast path.
    compiling: when Inductor compiles what packs repeat: auto, never or always.
    checkpoints: folder or s3://bucket/path that all nodes share; else in the store's home.
    checkpoint_s: seconds of training between two of them, the most that a lost node costs.
    timeout_s: a worker that gives no sign of life for so long is ended; 0: never.
    has_figures: whether MLflow's page of the suite has figures, which needs what draws them to be installed.
    curve_points: parts of each curve in MLflow, even in the logarithm of the step. Traces are whole in any case.
    abort: what aborts runs on warnings of a detector, at which thresholds; they have no result, and a later run without
    it trains them to their end.
    """

    address: str | None = None
    is_insecure: bool = False
    num_gpus: int | None = None
    max_lanes: int | None = None
    is_reference: bool = False
    compiling: Compiling = "auto"
    checkpoints: str | None = None
    checkpoint_s: float = 60.0
    timeout_s: float = 1800.0
    has_figures: bool = True
    curve_points: int = CURVE_POINTS
    abort: Abort | None = None

    def of_workers(self, device: str, *, checkpoints: str, pruning: Pruning | None) -> WorkerOptions:
        """What every worker of a round gets. checkpoints: place of those of the suite.

        Runs on another device, by the reference, compiled, watched or pruned otherwise have checkpoints of their own.
        """
        variant = [device, *(["reference"] if self.is_reference else [])]
        variant += [] if self.compiling == "auto" else [self.compiling]
        watch = None if self.abort is None else self.abort.watch
        if pruning is not None:
            variant.append(f"pruned{pruning.digest}")
        elif watch is not None:
            plain = canonical_json([watch.name, sorted(watch.thresholds.items())])
            variant.append(f"watched{hashlib.sha256(plain.encode()).hexdigest()[:8]}")
        return WorkerOptions(
            checkpoints=Checkpoints(
                uri=checkpoints, token=secrets.token_hex(8), variant="-".join(variant), every_s=self.checkpoint_s
            ),
            timeout_s=self.timeout_s,
            is_reference=self.is_reference,
            compiling=self.compiling,
            watch=watch,
            pruning=pruning,
        )
