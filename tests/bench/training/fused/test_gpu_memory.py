"""What a worker says of the memory of its GPU, with a program in place of the driver's tool."""

import subprocess
import sys

import pytest

from bench.training.fused.cuda import memory_bytes

TOOL = """#!/bin/sh
echo "$@" > {asked}
{answer}
"""


@pytest.mark.parametrize(
    ("answer", "visible", "expected"),
    [
        ("echo 143771", None, 143771 * 2**20),
        ("echo 24564; echo 8188", None, 8188 * 2**20),  # any of them may be ours: the smallest
        ("echo 24564", "1", 24564 * 2**20),
        ("echo '[N/A]'", None, 0),
        ("exit 9", None, 0),
        ("exit 0", None, 0),
        ("echo 81920", "MIG-4f1f-1", 0),
    ],
)
def test_the_memory_is_that_of_the_drivers_tool_and_0_where_it_does_not_say(
    tmp_path, monkeypatch, answer, visible, expected
):
    tool, asked = tmp_path / "nvidia-smi", tmp_path / "asked"
    tool.write_text(TOOL.format(asked=asked, answer=answer))
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert memory_bytes() == expected
    assert asked.read_text().split()[2:] == (["-i", visible] if visible else [])


def test_it_is_0_without_the_tool(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert memory_bytes() == 0


def test_what_a_worker_runs_to_say_it_does_not_load_torch():
    script = "import sys, bench.training.fused.cuda; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "False"
