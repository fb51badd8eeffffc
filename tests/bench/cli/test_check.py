"""`bench check`, and what `validate` and `run` refuse before training; the README's own attention passes."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.command_line import bench_here

ROOT = Path(__file__).parents[3]
SIGNED = """
from dataclasses import dataclass
from bench.methods.softmax import Softmax
from bench.optimizers.schedules import Constant

@dataclass(frozen=True, kw_only=True)
class Sharpened(Softmax):
    a: float = 1.0

    def weights(self, q, k, mask, state):
        return (1 + self.a) * super().weights(q, k, mask, state) - self.a * mask / mask.sum(-1, keepdim=True)

@dataclass(frozen=True, kw_only=True)
class Twice(Constant):
    def decay(self, progress, step, warmup_steps, num_steps):
        return 2 * super().decay(progress, step, warmup_steps, num_steps)

class _Hidden(Softmax):
    pass

def helper():
    pass
"""
SUITE = """
name: checked
workloads: [{name: in_context_regression, num_steps: 4, final_loss_steps: 2}]
methods:
  - softmax
  - {name: "own_check:Sharpened", a: 0.5}
optimizers: [sgd]
knobs: {lr: 0.1}
seeds: 1
probe_every: 2
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own_check.py").write_text(SIGNED)
    (tmp_path / "checked.yaml").write_text(SUITE)
    (tmp_path / "own_readme.py").write_text((ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0])
    yield tmp_path
    for name in ("own_check", "own_readme"):
        sys.modules.pop(name, None)


def test_the_attention_of_the_readme_passes_with_one_line_a_property(folder):
    done = bench_here(folder, "check", "own_readme:Cauchy")
    assert done.returncode == 0, done.stdout
    title, *lines = done.stdout.splitlines()
    assert title == "own_readme:Cauchy (method)"
    assert all(line.startswith("  passed  ") for line in lines)
    assert done.stderr == f"{len(lines)} of {len(lines)} properties hold\n"


def test_all_entries_of_a_module_are_checked_and_failures_end_with_1(folder):
    done = bench_here(folder, "check", "own_check", "--json")
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    failed = {(row["entry"], row["kind"], row["property"]) for row in rows if not row["passed"]}
    assert {row["entry"] for row in rows} == {"own_check:Sharpened", "own_check:Twice"}
    assert ("own_check:Sharpened", "methods", "weights are not negative") in failed
    assert ("own_check:Twice", "schedules", "factors lie in 0 to 1, warmup is linear") in failed


def test_a_shipped_entry_is_checked_with_parameters(folder):
    done = bench_here(folder, "check", "wsd", "--set", "decay_fraction=0.5")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "wsd(decay_fraction=0.5) (schedule)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["own_missing"], "'own_missing' can't be imported: .*; looked in .* and where Python does"),
        (["softmx"], "did you mean 'softmax'"),
        (["own_check:Missing"], "has no attribute 'Missing'"),
        (["own_check:helper"], "is no workload, .*, schedule, intervention or probe; required a subclass of one of"),
        (["own_check:_Hidden"], "must be a dataclass"),
        (["wsd", "--set", "decay_fraction=2"], "wsd: decay_fraction: .* less than or equal to 1, got 2"),
        (["wsd", "--set", "decay_fracton=0.1"], "unknown parameter 'decay_fracton' of schedule 'wsd'; did you mean"),
        (["wsd", "--set", "0.1"], "--set '0.1': required parameter=value"),
        (["textwrap"], "textwrap defines no workload, method, optimizer, schedule, intervention or probe"),
    ],
)
def test_what_can_not_be_checked_ends_with_2_and_one_line(words, message, folder):
    done = bench_here(folder, "check", *words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert re.search(message, line), line


@pytest.mark.parametrize("words", [["validate"], ["run"], ["run", "--dry-run"]])
def test_a_suite_is_refused_before_training_with_its_place_and_the_line_to_change(words, folder):
    done = bench_here(folder, *words, "checked.yaml", "--allow-code")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "checked.yaml:6:5: own_check:Sharpened(a=0.5) lacks a property, 'weights are not negative': "
    )
    assert line.endswith("(own_check.py:10 in weights)")
    assert not (folder / ".bench").exists()
