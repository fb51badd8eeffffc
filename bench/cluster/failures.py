"""Why a worker failed, from the error that Ray sends along."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import OutOfMemoryError, RayActorError

from bench.cluster.retries import Cause, Failure

# What Ray says of a machine that went away, and of a process that it killed because memory ran out.
NODE_LOST = ("node has died", "node was terminated", "node is terminated", "NODE_DIED", "NodeDiedError", "preempted")
MEMORY_SPENT = ("low on memory", "OutOfMemoryError", "NODE_OUT_OF_MEMORY")


def failure_of(trial: Any, *, timed_out: bool) -> Failure:
    """What went wrong with the worker of Tune's trial a moment ago, as Tune wrote it down on this machine."""
    path = trial.pickled_error_file  # `get_pickled_error` reads what is copied from there later
    error = cloudpickle.loads(Path(path).read_bytes()) if path and Path(path).exists() else None
    return _failure(error, timed_out=timed_out)


def _failure(error: BaseException | None, *, timed_out: bool) -> Failure:
    """What went wrong with a worker, from the error that Ray sends along."""
    text = "".join(traceback.format_exception_only(error)).strip() if error else "unknown error"
    if not isinstance(error, RayActorError | OutOfMemoryError):  # an exception outside of training, or of the GPU
        return Failure(cause=Cause.WORKER, message=text.splitlines()[-1][:500])
    if any(word in text for word in NODE_LOST):
        return Failure(cause=Cause.NODE, message="its node went away")
    if any(word in text for word in MEMORY_SPENT):
        return Failure(cause=Cause.MEMORY, message="killed because its node ran out of memory")
    if timed_out:
        return Failure(cause=Cause.TIMEOUT, message="no sign of life for too long")
    exit_kind = re.search(r"Worker exit type: (\w+)", text)
    return Failure(
        cause=Cause.WORKER, message=f"its process died ({exit_kind.group(1) if exit_kind else 'reason unknown'})"
    )
