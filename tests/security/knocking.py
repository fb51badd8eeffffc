"""What a Ray on this machine answers to whoever shows no token, socket by socket."""

from __future__ import annotations

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable

import grpc
import psutil

# A method of each service that listens; without a token, or with a wrong one, Ray names the token first.
METHODS = (
    "/ray.rpc.NodeInfoGcsService/CheckAlive",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/Exit",
    "/ray.rpc.ReporterService/HealthCheck",
)
TOKEN, METRICS = "needs the token", "metrics, to read"
VERDICTS = (TOKEN, METRICS)


def answers_without_token(processes: Iterable[psutil.Process]) -> list[tuple[str, str]]:
    """Process and one of VERDICTS for each listening socket, each pair once; AssertionError for others."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for socket in process.net_connections(kind="inet"):
                if socket.status == psutil.CONN_LISTEN:
                    found.add((_name(process), _verdict(socket.laddr.port)))
    return sorted(found)


def _name(process: psutil.Process) -> str:
    """The name of the process; of scripts of Ray's their file, of the driver `driver`, of workers `ray::worker`."""
    name, words = process.name(), process.cmdline()
    scripts = [word.rpartition("/")[2] for word in words if word.endswith(".py") and "/ray/" in word]
    if name.startswith("ray::") and "Agent" not in name:
        return "ray::worker"
    return scripts[0] if scripts and not name.startswith("ray::") else "driver" if name.startswith("python") else name


def _verdict(port: int) -> str:
    codes = {_called(port, method) for method in METHODS}
    status, text = _got(port)
    assert "OK" not in codes, (port, codes)
    if "UNAUTHENTICATED" in codes or status == 401:
        return TOKEN
    assert status == 200, (port, codes, status)
    assert text.startswith("# HELP"), (port, text)
    return METRICS


def _called(port: int, method: str) -> str:
    """The code that a call of gRPC ends with."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", timeout=5)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def _got(port: int) -> tuple[int, str]:
    """Code and first letters of an answer over HTTP; 0 if it is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.status, answer.read(200).decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except (OSError, http.client.HTTPException):
        return 0, ""
