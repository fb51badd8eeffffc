"""A night on a cluster in an hour: `make faults`, or `python -m tests.faults.campaign --help`.

A suite is submitted as a job to a Ray cluster of three nodes with token authentication; results go to an MLflow server
with basic authentication on Postgres. Workers, nodes, drivers, the server and Postgres are killed while it runs; the
suite is submitted again whenever its driver died. Another suite runs on a disk that fills up. In the end every trial
is there once, with the losses of an undisturbed run. Prints the table of what was done.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import polars as pl
import psutil

from bench.store import Store, read_results
from tests.bench.store.postgres import Postgres, binaries
from tests.bench.store.servers import PASSWORD, USER, Server
from tests.faults.clusters import RayCluster, kill_tree

# About 3 s a pack of 4 lanes, and enough of them to be hit.
SUITE = """
name: campaign-{number}
workloads:
  - {{name: in_context_regression, num_steps: 1500, final_loss_steps: 20, batch_size: 8, depth: 2, num_pairs: 8}}
methods: [softmax, relu_kernel, sigma_reparam_qk, elu_kernel]
optimizers: [sgd, adamw]
knobs: {{lr: [1e-3, 1e-2, 1e-1, 1, 1e5]}}
seeds: [{seeds}]
probe_every: 100
"""
FAULTS = ("worker", "node", "driver", "server", "database")
SECONDS_BETWEEN = (1.0, 6.0)
DISK_MB = 48


class Cluster:
    """All of it: Postgres, the MLflow server, Ray, and the job that runs a suite."""

    def __init__(self, folder: Path) -> None:
        programs = binaries()
        assert programs is not None, "needs Postgres's own programs"
        self.folder = folder
        self.postgres = Postgres(programs)
        self.server = Server(folder, self.postgres.fresh())
        self.server.start()
        self.environment = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        self.ray = RayCluster(num_nodes=2, environment=self.environment)
        self.num_submitted = 0

    def submit(self, suite: Path) -> subprocess.Popen[str]:
        self.num_submitted += 1
        command = [sys.executable, "-m", "bench.cli", "submit", str(suite), "--address", self.ray.address]
        command += ["--cluster-store", str(self.folder / "home"), "--store", str(self.folder / "client")]
        command += ["--tracking-uri", self.server.uri, "--checkpoint-seconds", "1", "--max-lanes", "4"]
        with (self.folder / "jobs.log").open("a") as log:
            return subprocess.Popen(command, env=self.ray.environment, stdout=log, stderr=log, text=True)

    def inflict(self, fault: str, draw: random.Random) -> bool:
        """False if there was nothing to hit."""
        if fault == "worker":
            workers = self.ray.workers()
            if not workers:
                return False
            with contextlib.suppress(psutil.NoSuchProcess):
                draw.choice(workers).kill()
        elif fault == "node":
            self.ray.replace_node(draw.randrange(len(self.ray.nodes)))
        elif fault == "driver":
            drivers = self.ray.drivers()
            if not drivers:
                return False
            for driver in drivers:
                kill_tree(driver.pid)
        elif fault == "server":
            self.server.kill()
            time.sleep(draw.uniform(0, 5))
            self.server.start()
        else:
            self.postgres.crash()
            time.sleep(draw.uniform(0, 3))
            self.postgres.start()
        return True

    def refusals(self) -> int:
        """Asks for what needs a token or a password, without; the number of requests, all of which got nothing."""
        ray, mlflow = self.ray.address, self.server.uri
        requests = [
            Request(f"{ray}/api/version"),
            Request(f"{ray}/api/jobs/"),
            Request(f"{ray}/nodes?view=summary"),
            Request(f"{ray}/api/jobs/", data=b'{"entrypoint": "true"}', headers={"Content-Type": "application/json"}),
            Request(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1"),
            Request(f"{mlflow}/api/2.0/mlflow/experiments/create", data=b'{"name": "x"}'),
            Request(f"{mlflow}/api/2.0/mlflow-artifacts/artifacts"),
        ]
        for request in requests:
            assert _status(request) in (401, 403), f"{request.full_url} answered a stranger"
        return len(requests)

    def close(self) -> None:
        self.ray.close()
        self.server.kill()
        self.postgres.stop()


def _status(request: Request) -> int:
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def on_the_cluster(
    folder: Path, counts: Counter[str], num_seeds: int, draw: random.Random
) -> tuple[Counter[str], int, pl.DataFrame]:
    """What was done, the number of suites that it took, and all their results."""
    cluster, done, tables = Cluster(folder), Counter[str](), []
    number = 0
    try:
        done["refused"] = cluster.refusals()
        while not tables or any(done[fault] < counts[fault] for fault in FAULTS):
            suite = write_suite(folder, number, num_seeds)
            job = cluster.submit(suite)
            while True:
                time.sleep(draw.uniform(*SECONDS_BETWEEN))
                if job.poll() == 0:
                    break
                if job.poll() is not None:
                    job = cluster.submit(suite)
                    continue
                left = [fault for fault in FAULTS if done[fault] < counts[fault]]
                if left and cluster.ray.drivers():
                    fault = draw.choices(left, [counts[fault] - done[fault] for fault in left])[0]
                    done[fault] += cluster.inflict(fault, draw)
                    print(f"{suite.stem}: {dict(done)}", file=sys.stderr, flush=True)
            os.environ.update(cluster.environment)
            tables.append(results(Store(folder / "client", cluster.server.uri, warn=print), f"campaign-{number}"))
            number += 1
    finally:
        cluster.close()
    done["submitted"] = cluster.num_submitted
    return done, number, pl.concat(tables)


def on_a_full_disk(folder: Path, num_times: int, num_seeds: int, draw: random.Random) -> tuple[int, pl.DataFrame]:
    """How often the disk filled up under a driver, and the results."""
    suite, done = write_suite(folder, 0, num_seeds), 0
    with small_disk(folder / "disk") as disk:
        command = [
            sys.executable,
            "-m",
            "bench.cli",
            "run",
            str(suite),
            "--store",
            str(disk / "home"),
            "--max-lanes",
            "4",
        ]
        filler = disk / "filler"
        while True:
            driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if done < num_times:
                time.sleep(draw.uniform(3, 20))
                fill(filler)
                done += driver.poll() is None
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driver.wait(draw.uniform(5, 25))
                filler.unlink()
            _, errors = driver.communicate()
            print(f"full disk {done}: exit code {driver.returncode}", file=sys.stderr, flush=True)
            assert driver.returncode in (0, 4, 5), errors  # 4: what failed beside it
            assert "Traceback" not in errors, errors
            if driver.returncode == 0 and done >= num_times:
                return done, results(Store(disk / "home", warn=print), "campaign-0")
            if driver.returncode == 0:  # all is done: once more from the start
                shutil.rmtree(disk / "home")


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a file system in memory."""
    try:
        with small_disk(folder):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}M", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take all that is left of a disk."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**16))


def write_suite(folder: Path, number: int, num_seeds: int) -> Path:
    path = folder / f"campaign-{number}.yaml"
    seeds = ", ".join(str(num_seeds * number + seed) for seed in range(num_seeds))
    path.write_text(SUITE.format(number=number, seeds=seeds))
    return path


def results(store: Store, suite_name: str) -> pl.DataFrame:
    """What defines a result, a row for every ended run: a trial that is counted twice shows twice."""
    found = read_results(store, suite_name)
    trials = store.runs(store.experiment(suite_name), "trial")
    ended = [run for run in trials if run.status == "FINISHED"]
    assert len(ended) == found.height, f"{suite_name}: {len(ended)} ended runs of {found.height} trials"
    return found.select("trial_id", "outcome", "diverged_step", "initial_loss", "final_loss").sort("trial_id")


def undisturbed(folder: Path, num_suites: int, num_seeds: int) -> pl.DataFrame:
    tables = []
    for number in range(num_suites):
        command = [
            sys.executable,
            "-m",
            "bench.cli",
            "run",
            str(write_suite(folder, number, num_seeds)),
            "--store",
            str(folder / "plain"),
        ]
        subprocess.run([*command, "--max-lanes", "4"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        tables.append(results(Store(folder / "plain", warn=print), f"campaign-{number}"))
    return pl.concat(tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for fault, count in {"worker": 40, "node": 5, "driver": 20, "server": 10, "database": 5, "disk": 10}.items():
        parser.add_argument(f"--{fault}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0, help="of the order and the moments of faults")
    parser.add_argument("--num-seeds", type=int, default=3, help="of a suite: 40 trials each")
    arguments = vars(parser.parse_args())
    num_seeds = arguments["num_seeds"]
    draw, started = random.Random(arguments["seed"]), time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        done, num_suites, found = on_the_cluster(folder, Counter(arguments), num_seeds, draw)
        if arguments["disk"] and not can_mount(folder / "probe"):
            print("no small disk can be mounted here: full disks are left out", file=sys.stderr, flush=True)
            arguments["disk"] = 0
        num_full, on_disk = (
            on_a_full_disk(folder, arguments["disk"], num_seeds, draw) if arguments["disk"] else (0, None)
        )
        expected = undisturbed(folder, num_suites, num_seeds)
    rows = {
        "SIGKILL of a worker": done["worker"],
        "a node powered off": done["node"],
        "SIGKILL of the driver": done["driver"],
        "SIGKILL of the MLflow server": done["server"],
        "Postgres stopped (immediate)": done["database"],
        "disk full": num_full,
        "suites run": num_suites,
        "submissions": done["submitted"],
        "requests without a token or password that got nothing": done["refused"],
        "trials expected": expected.height,
        "trials lost": expected.join(found, on="trial_id", how="anti").height,
        "trials counted twice": found.height - found["trial_id"].n_unique(),
        "results that differ": expected.height - expected.join(found, on=expected.columns, nulls_equal=True).height,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    print(
        "\n".join(
            ["| what | how often |", "| --- | ---: |", *(f"| {what} | {number} |" for what, number in rows.items())]
        )
    )
    assert found.equals(expected.sort("trial_id")) or found.sort("trial_id").equals(expected.sort("trial_id"))
    assert on_disk is None or on_disk.equals(expected.filter(pl.col("trial_id").is_in(on_disk["trial_id"].implode())))


if __name__ == "__main__":
    main()
