"""A real Ray cluster of several nodes on this machine, with token authentication, whose nodes can be killed.

`ray stop` would end every Ray of this machine, so that each node is a process group of its own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

START_SECONDS = 240.0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(condition: Callable[[], Any], seconds: float = START_SECONDS, every: float = 0.2) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain"
        time.sleep(every)


def kill_tree(pid: int) -> None:
    """SIGKILL of a process and all that it started, as when its machine loses power."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


class RayCluster:
    """A head without CPUs for packs, and worker nodes of one CPU each. `environment` is that of jobs, too."""

    def __init__(self, *, num_nodes: int, environment: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: sockets' paths are limited
        self.token = secrets.token_hex(24)
        self.port, self.dashboard = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self.dashboard}"
        self.environment = {
            **os.environ,
            **(environment or {}),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "2000",
            "RAY_health_check_failure_threshold": "3",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }
        self.head = self._start("--head", "--port", str(self.port), "--num-cpus", "0", *self._dashboard_options())
        self.nodes: list[subprocess.Popen[bytes]] = []
        try:
            wait_for(self._have_started)  # one after the other: Ray gives each 30 s, however busy the machine is
            wait_for(self._is_up)
            for _ in range(num_nodes):
                self.nodes.append(self.add_node())
                wait_for(self._have_started)
        except BaseException:
            self.close()
            raise

    def add_node(self) -> subprocess.Popen[bytes]:
        return self._start("--address", f"127.0.0.1:{self.port}", "--num-cpus", "1")

    def replace_node(self, number: int) -> None:
        """Power off a node, and start another."""
        kill_tree(self.nodes[number].pid)
        self.nodes[number].wait()
        self.nodes[number] = self.add_node()

    def workers(self) -> list[psutil.Process]:
        """The processes that train packs."""
        return [
            process
            for node in self.nodes
            if node.poll() is None
            for process in psutil.Process(node.pid).children(recursive=True)
            if "Trainable" in process.name()
        ]

    def drivers(self) -> list[psutil.Process]:
        """The processes of jobs that run suites."""
        found = []
        for process in psutil.Process(self.head.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if "bench.cli" in words and words[0].rpartition("/")[2].startswith("python"):
                    found.append(process)
        return found

    def close(self) -> None:
        for node in (*self.nodes, self.head):
            kill_tree(node.pid)
            node.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _dashboard_options(self) -> list[str]:
        ports = {"--dashboard-port": self.dashboard, "--ray-client-server-port": free_port()}
        return ["--dashboard-host", "127.0.0.1", *(word for pair in ports.items() for word in map(str, pair))]

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", *words]
        command += ["--node-ip-address", "127.0.0.1", "--object-store-memory", "120000000"]
        command += ["--dashboard-agent-listen-port", str(free_port()), "--dashboard-agent-grpc-port", str(free_port())]
        command += ["--min-worker-port", "0", "--max-worker-port", "0", "--disable-usage-stats"]
        # Of its own: a node that starts clears what it finds of the working directories of jobs.
        command += ["--temp-dir", tempfile.mkdtemp(prefix="node-", dir=self.folder)]
        with (self.folder / "start.log").open("ab") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def _have_started(self) -> bool:
        """Whether all of the cluster's processes said so; one that ended instead is an error."""
        said = (self.folder / "start.log").read_text()
        assert all(process.poll() is None for process in (self.head, *self.nodes)), said
        return said.count("Ray runtime started") == 1 + len(self.nodes)

    def _is_up(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.dashboard), timeout=1):
            return True
        return False
