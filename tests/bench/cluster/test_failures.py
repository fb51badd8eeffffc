"""Why a worker failed, read from Ray's errors."""

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayActorError

from bench.cluster.failures import MEMORY_SPENT, NODE_LOST, _failure
from bench.cluster.retries import Cause


def died(words: str) -> ActorDiedError:
    """What Ray raises when the process of a worker is gone, with its words."""
    return ActorDiedError(ActorDiedErrorContext(class_name="PackTrainable", actor_id=b"0" * 16, error_message=words))


@pytest.mark.parametrize(
    ("error", "timed_out", "cause", "message"),
    [
        (
            died("The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit"),
            False,
            Cause.WORKER,
            "its process died (SYSTEM_ERROR)",
        ),
        (RayActorError(), False, Cause.WORKER, "its process died (reason unknown)"),
        (died("Worker exit type: INTENDED_SYSTEM_EXIT"), True, Cause.TIMEOUT, "no sign of life for too long"),
        (died("The actor died because its node has died."), False, Cause.NODE, "its node went away"),
        (died("its node was terminated: preempted by the provider"), True, Cause.NODE, "its node went away"),
        (ActorUnavailableError("the node is terminated", b"0" * 16), False, Cause.NODE, "its node went away"),
        (
            OutOfMemoryError("Task was killed due to the node running low on memory."),
            False,
            Cause.MEMORY,
            "killed because its node ran out of memory",
        ),
        (
            died("Worker exit type: NODE_OUT_OF_MEMORY"),
            True,
            Cause.MEMORY,
            "killed because its node ran out of memory",
        ),
        (ValueError("first line\nlast line"), False, Cause.WORKER, "last line"),
        (
            RuntimeError("CUDA error: the node has died"),
            False,
            Cause.WORKER,
            "RuntimeError: CUDA error: the node has died",
        ),
        (None, False, Cause.WORKER, "unknown error"),
    ],
)
def test_the_cause_of_a_failure_is_read_from_rays_error(error, timed_out, cause, message):
    """A node that goes away or runs out of memory is the cause, whatever else holds; then silence; then the process."""
    failure = _failure(error, timed_out=timed_out)
    assert (failure.cause, failure.message) == (cause, message)


@pytest.mark.parametrize(("words", "cause"), [(NODE_LOST, Cause.NODE), (MEMORY_SPENT, Cause.MEMORY)])
def test_every_way_that_ray_says_it_is_known(words, cause):
    assert {_failure(died(f"... {one} ..."), timed_out=True).cause for one in words} == {cause}


def test_a_long_message_is_cut():
    assert _failure(ValueError("x" * 1000), timed_out=False).message == "ValueError: " + "x" * 488
