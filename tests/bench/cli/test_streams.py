"""A closed or full stdout, full disks and wrong paths are one line and an exit code, and messages steer no terminal."""

import contextlib
import errno
import io
import json
import os
import subprocess
import sys

import pytest

from bench.cli import app
from bench.cli.shared import say
from bench.cli.streams import open_streams
from bench.errors import BudgetError, UsageError
from tests.command_line import bench_here

SUITE = (
    "name: small\nworkloads: [{name: in_context_regression, num_steps: 10}]\nmethods: [softmax]\noptimizers: [sgd]\n"
)

KNOBS = "knobs: {lr: [0.1]}\nseeds: 1\nprobe_every: 5\n"


def ended(words: list[str]) -> int | str | None:
    """The exit code of `bench WORDS` with the streams as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bench", *words])
        with pytest.raises(SystemExit) as end:
            app.main()
    return end.value.code


def test_a_full_disk_behind_stdout_is_a_line_and_exit_code_5(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert ended(["schema"]) == 5
    assert capsys.readouterr().err == "stdout: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_letter_that_an_encoding_lacks_is_its_escape(monkeypatch, encoding):
    with io.TextIOWrapper(io.BytesIO(), encoding=encoding) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with open_streams():
            print("edge_lr ≥ 0.1")
        assert stream.buffer.getvalue() == b"edge_lr \\u2265 0.1\n"


def test_a_closed_stdout_is_a_line_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert ended(["schema"]) == 2
    sys.stdout.close()
    assert capsys.readouterr().err.startswith("stdout is closed")


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        (">&-", 2),
        pytest.param("2>&-", 0, marks=pytest.mark.repetition),
        pytest.param(">/dev/full", 5, marks=pytest.mark.repetition),
        pytest.param("| head -c 1", 0, marks=pytest.mark.repetition),
    ],
)
def test_streams_as_a_shell_leaves_them(tmp_path, shell, code):
    command = f"set -o pipefail; {sys.executable} -m bench.cli schema {shell}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [(errno.ENOSPC, BudgetError, 5), (errno.EROFS, BudgetError, 5), (errno.EACCES, UsageError, 2)],
)
def test_what_the_disk_refuses_names_the_path(number, kind, code):
    with pytest.raises(kind, match="some/path: ") as caught, open_streams():
        raise OSError(number, os.strerror(number), "some/path")
    assert caught.value.exit_code == code


def test_other_errors_stay_what_they_are():
    with pytest.raises(ConnectionRefusedError), open_streams():
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")


@pytest.mark.parametrize("module", ["typer", "pydantic", "polars"])
def test_ctrl_c_anywhere_is_a_word_and_exit_code_130(tmp_path, module):
    """While the commands are imported, and within one, which Typer ends."""
    interrupted = (
        "import sys\nclass Finder:\n    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\nfrom bench.cli import main\nmain()\n"
    )
    command = [sys.executable, "-c", interrupted, "leaderboard", "quickstart"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_what_a_users_code_prints_is_no_part_of_what_a_command_prints(tmp_path):
    (tmp_path / "loud.py").write_text(
        "from dataclasses import dataclass\nfrom bench.methods.softmax import Softmax\nprint('imported')\n\n\n"
        "@dataclass(frozen=True)\nclass Loud(Softmax):\n"
        "    def weights(self, q, k, mask, state):\n        print('weights')\n"
        "        return super().weights(q, k, mask, state)\n"
    )
    (tmp_path / "small.yaml").write_text(SUITE.replace("softmax", "'loud:Loud'") + KNOBS)
    done = bench_here(tmp_path, "validate", "small.yaml", "--allow-code", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["methods"] == 1
    assert set(done.stderr.split()) == {"imported", "weights"}
    planned = bench_here(tmp_path, "run", "small.yaml", "--allow-code", "--dry-run", "--store", "store")
    assert planned.stdout.startswith("small: one trial in one pack; about ")
    assert planned.stdout.count("\n") == 1
    (tmp_path / "another.py").write_text((tmp_path / "loud.py").read_text())
    checked = bench_here(tmp_path, "check", "another:Loud", "--json")
    assert {row["entry"] for row in json.loads(checked.stdout)} == {"another:Loud"}
    assert "imported\n" in checked.stderr


@pytest.mark.parametrize("command", ["report", "compare", "figures"])
def test_out_that_names_a_file_is_one_line(tmp_path, command):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "small.yaml").write_text(SUITE)
    done = bench_here(tmp_path, command, "small.yaml", "--out", "file")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "file" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_message_cannot_steer_the_terminal():
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        say("two\nlines \x1b[2J\x1b]0;title\x07 größer ≤ \r")
    assert err.getvalue() == "two\nlines \\x1b[2J\\x1b]0;title\\x07 größer ≤ \\r\n"


def test_an_error_cannot_steer_the_terminal(tmp_path):
    done = bench_here(tmp_path, "validate", "no\x1b[2Jfile.yaml")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
