"""The restore drill: a store on Postgres is dumped, dropped and restored by the scripts of infra/, and is equal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy

from tests.infra.manifests import INFRA, OBJECTS, PODS, ROOT, load

SCRIPTS = INFRA / "mlflow" / "kubernetes" / "backup"
SUITE = """\
name: drill
workloads: [{name: in_context_regression, num_steps: 20}]
methods: [softmax, relu_kernel]
optimizers: [sgd]
knobs: {lr: [0.01, 0.1, 1.0]}
seeds: 2
probe_every: 10
"""


class Server:
    """A Postgres server as its own programs and `bench` reach it, and one database's address."""

    def __init__(self, postgres, folder: Path) -> None:
        from tests.bench.store.postgres import binaries

        self.uri, self.folder = postgres.fresh(), folder
        url = sqlalchemy.make_url(self.uri)
        self.database = str(url.database)
        self.environment = os.environ | {
            "PATH": f"{binaries()}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": str(url.host),
            "PGPORT": str(url.port),
            "PGUSER": str(url.username),
            "PGPASSWORD": str(url.password),
            "BACKUP_FOLDER": str(folder),
            "BACKUP_DATABASES": self.database,
        }

    def run(self, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | variables
        command = [str(word) for word in words]
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)

    def bench(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        places = ("--store", str(self.folder / "store"), "--tracking-uri", self.uri)
        return self.run(sys.executable, "-m", "bench.cli", command, self.folder / "suite.yaml", *places, *words)

    def databases(self) -> set[str]:
        done = self.run("psql", "--dbname=postgres", "-Atc", "select datname from pg_database")
        return set(done.stdout.split())


@pytest.fixture
def server(postgres, tmp_path: Path) -> Server:
    return Server(postgres, tmp_path)


@pytest.mark.slow
def test_a_dropped_store_is_restored_and_equal(server: Server) -> None:
    (server.folder / "suite.yaml").write_text(SUITE)
    done = server.bench("run", "--no-figures")
    assert done.returncode == 0, done.stderr
    board = server.bench("leaderboard", "--format", "json").stdout
    assert "softmax" in board
    dumped = server.run("sh", SCRIPTS / "backup.sh")
    assert dumped.returncode == 0, dumped.stderr
    dump = Path(dumped.stdout.strip())
    assert dump.stat().st_mode & 0o777 == 0o600
    assert server.run("dropdb", "--force", server.database).returncode == 0
    assert server.bench("verify").returncode == 4, "the store is gone"
    restored = server.run("sh", SCRIPTS / "restore.sh", server.database, dump)
    assert restored.returncode == 0, restored.stderr
    verified = server.bench("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert server.bench("leaderboard", "--format", "json").stdout == board


@pytest.mark.slow
def test_newest_dumps_are_kept_and_what_is_not_whole_is_none(server: Server, tmp_path: Path) -> None:
    for day in ("01", "02", "03"):
        (tmp_path / f"{server.database}-202601{day}T000000Z.dump").write_text("")
    assert server.run("sh", SCRIPTS / "backup.sh", BACKUP_KEEP="2").returncode == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == f"{server.database}-20260103T000000Z.dump"
    assert len(names) == 2
    assert server.run("sh", SCRIPTS / "backup.sh", BACKUP_DATABASES="no_such_database").returncode != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.slow
def test_a_restore_replaces_nothing_and_leaves_nothing_half(server: Server, tmp_path: Path) -> None:
    whole = Path(server.run("sh", SCRIPTS / "backup.sh").stdout.strip())
    assert server.run("sh", SCRIPTS / "restore.sh", server.database, whole).returncode != 0
    assert server.run("sh", SCRIPTS / "restore.sh", "another", tmp_path / "nothing.dump").returncode != 0
    (tmp_path / "empty.dump").write_bytes(b"")
    assert server.run("sh", SCRIPTS / "restore.sh", "another", tmp_path / "empty.dump").returncode != 0
    assert server.databases() >= {server.database}
    assert "another" not in server.databases()


def test_job_runs_the_script_on_both_databases_of_the_server() -> None:
    (container,) = PODS["postgres-backup"]["spec"]["containers"]
    assert container["command"] == ["sh", "/scripts/backup.sh"]
    assert "BACKUP_DATABASES" not in {one["name"] for one in container["env"]}
    assert "BACKUP_DATABASES:-mlflow mlflow_auth" in (SCRIPTS / "backup.sh").read_text()
    (server,) = PODS["postgres"]["spec"]["containers"]
    assert container["image"] == server["image"], "a dump's programs are the server's"
    secrets = [{**one["valueFrom"]["secretKeyRef"]} for one in container["env"] if "valueFrom" in one]
    assert secrets == [{"name": "mlflow", "key": "postgres-password"}]


def test_snapshots_are_of_disks_that_exist() -> None:
    claims = {item["metadata"]["name"] for _, item in OBJECTS if item["kind"] == "PersistentVolumeClaim"}
    sets = [item for _, item in OBJECTS if item["kind"] == "StatefulSet"]
    for item in sets:
        (template,) = item["spec"]["volumeClaimTemplates"]
        claims.add(f"{template['metadata']['name']}-{item['metadata']['name']}-0")
    snapshots = load(INFRA / "mlflow" / "kubernetes" / "snapshot.yaml")
    assert {one["spec"]["source"]["persistentVolumeClaimName"] for one in snapshots} <= claims
