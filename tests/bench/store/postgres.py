"""A throw-away Postgres server for tests: on loopback, without syncing, removed at the end."""

import contextlib
import glob
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg
import sqlalchemy

PASSWORD = "p@ss:word/" + secrets.token_hex(4)  # with the letters of a URI, on purpose


def binaries() -> Path | None:
    """Folder of Postgres's programs, None where there are none."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(map(Path, glob.glob("/usr/lib/postgresql/*/bin")))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


class Postgres:
    """`fresh()` makes empty databases, `copy()` ones with MLflow's tables."""

    password = PASSWORD

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
        self._user = "postgres" if os.geteuid() == 0 else None  # initdb refuses root
        if self._user:
            shutil.chown(self._folder, self._user)
        (self._folder / "password").write_text(PASSWORD)
        (self._folder / "password").chmod(0o644)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        password = ["-A", "scram-sha-256", "--pwfile", str(self._folder / "password")]
        self._run("initdb", "-D", str(self._data), "-U", "bench", "--no-sync", "--no-instructions", *password)
        self.start()
        self._num_made = 0

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        options = f"-p {self._port} -h 127.0.0.1 -k '' -c fsync=off -c synchronous_commit=off -c max_connections=200"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def crash(self) -> None:
        """Ends it without a word to its clients; `start` recovers what was committed."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")

    def stop(self) -> None:
        self.crash()
        shutil.rmtree(self._folder)

    def fresh(self, template: str = "template1") -> str:
        """URI of a new database."""
        self._num_made += 1
        name = f"made_{self._num_made}"
        with contextlib.closing(
            psycopg.connect(self.uri("postgres").replace("+psycopg", ""), autocommit=True)
        ) as admin:
            admin.execute(f"create database {name} template {template}")  # pyright: ignore
        return self.uri(name)

    def uri(self, name: str) -> str:
        url = sqlalchemy.URL.create("postgresql+psycopg", "bench", PASSWORD, "127.0.0.1", self._port, name)
        return url.render_as_string(hide_password=False)

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), *words]
        with tempfile.TemporaryFile() as output:  # no pipe: the server would keep it open
            done = subprocess.run(command, user=self._user, cwd="/", stdout=output, stderr=output, check=False)
            output.seek(0)
            assert done.returncode == 0, output.read().decode()
