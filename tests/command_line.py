"""The command line without a process of its own, which would spend seconds on imports."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.app import main


def bench_here(folder: Path, *words: object, columns: int | None = 200) -> subprocess.CompletedProcess[str]:
    """`bench WORDS` in a folder, whose modules can be imported: exit code, stdout, stderr.

    columns: of the terminal, None for a pipe without any.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.delenv("COLUMNS", raising=False)
        if columns is not None:
            patch.setenv("COLUMNS", str(columns))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(sys, "argv", ["bench", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return subprocess.CompletedProcess([*map(str, words)], code, out.getvalue(), err.getvalue())
