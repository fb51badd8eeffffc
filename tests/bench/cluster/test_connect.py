"""Ray that does not start in its own time is started once more."""

import socket

import pytest
import ray

from bench.cluster.connect import ray_cluster
from bench.errors import StoreError

LATE = "The current node timed out during startup. This could happen because ..."


@pytest.mark.parametrize(("failures", "num_tries"), [([LATE], 2), ([LATE, LATE], 2), (["no space left"], 1)])
def test_a_start_that_ray_gave_up_is_tried_once_more(monkeypatch, failures, num_tries):
    tries: list[str] = []

    def init(*, address: str, **options: object) -> None:
        tries.append(address)
        if len(tries) <= len(failures):
            raise Exception(failures[len(tries) - 1])

    monkeypatch.setattr(ray, "init", init)
    if len(failures) < num_tries:
        with ray_cluster("local"):
            pass
    else:
        with pytest.raises(StoreError, match=r"^Ray did not start here: "), ray_cluster("local"):
            pass
    assert tries == ["local"] * num_tries


def test_a_cluster_that_is_not_ours_is_asked_once(monkeypatch):
    tries = []

    def init(**options: object) -> None:
        tries.append(options)
        raise Exception(LATE)

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:{1}".format(*server.getsockname())
        with pytest.raises(StoreError, match="can't be reached"), ray_cluster(address, is_insecure=True):
            pass
    assert len(tries) == 1
