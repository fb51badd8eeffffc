"""The notebooks of suites/ as they are committed, and run from their first cell to their last."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.notebooks import notebooks

CLAIM, OWN = notebooks()


def cells(path: Path) -> list[dict]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", [CLAIM, OWN], ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_what_its_cells_show(path):
    found = cells(path)
    assert [cell["execution_count"] for cell in found] == list(range(1, len(found) + 1))
    outputs = [output for cell in found for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < 300_000


@pytest.mark.whole
@pytest.mark.parametrize("path", [CLAIM, pytest.param(OWN, marks=pytest.mark.slow)], ids=lambda path: path.stem)
def test_a_notebook_runs_from_its_first_cell_to_its_last(path):
    """Training, leaderboard, charts, files: the Python interface as a user sees it."""
    command = [sys.executable, "-m", "tests.notebooks", str(path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
