"""A method, an optimizer, a probe, a score and a held-out measure, added by bench/README.md alone: a file, a line each.

They are written into a copy of the program, whose commands and tests must take them up by themselves.
"""

import json
import os
import shutil
import subprocess
import sys

import polars as pl
import pytest

from tests.bench.copied_code import ROOT, add_lines, ignored

pytestmark = pytest.mark.slow

FILES = {
    "bench/methods/student_t.py": '''"""Rows as heavy-tailed as Student's t."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.methods.base import Method, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class StudentT(Method):
    """P in proportion to (1 + d^2 / freedom)^(-(freedom + 1) / 2), d: how far a logit lies below its row's largest."""

    source = "this project"
    controls = "rows"

    freedom: Annotated[float, Gt(0)] = 3.0

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        z_BHQK = self.logits(q_BHQD, k_BHKD, mask_B1QK, state)
        top_BHQ1 = z_BHQK.masked_fill(~mask_B1QK, -float("inf")).amax(dim=-1, keepdim=True).detach()
        p_BHQK = (1 + (top_BHQ1 - z_BHQK).square() / self.freedom) ** (-(self.freedom + 1) / 2) * mask_B1QK
        return p_BHQK / p_BHQK.sum(dim=-1, keepdim=True)
''',
    "bench/optimizers/sign_sgd.py": '''"""Steps of one size in every direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.optimizers.base import Optimizer, Tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SignSGD(Optimizer):
    """The sign of the gradient."""

    source = "Bernstein et al. 2018, Alg. 1"
    sources = ("bernstein2018signsgd",)
    knobs = ("lr",)

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        return p - knobs["lr"] * grad.sign(), state
''',
    "bench/probes/row_peak.py": '''"""How sure rows of attention are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.probes.base import Attention, Probe
from bench.trace import Quantity

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RowPeak(Probe):
    """Largest weight of a row, mean over batch, heads and rows."""

    source = "this project"
    quantities = {  # noqa: RUF012
        "row_peak": Quantity(
            title="Largest weight of a row", unit="1", low=0.0, high=lambda num_keys: 1.0,
            definition="mean over batch, heads and rows of the largest element of P", per_layer=True,
        )
    }

    def measure(self, layer: Attention) -> Mapping[str, Tensor]:
        return {"row_peak": layer.p_BHQK.amax(dim=-1).mean()}
''',
    "analysis/scores/worst.py": '''"""The worst learning rate of a grid."""

from __future__ import annotations

from analysis.scores.robustness import clipped_curve
from bench.lazy import numpy as np


def worst_loss(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
    """Largest mean loss of an lr, each clipped at the mean loss at init."""
    return np.nanmax(clipped_curve(losses_LS, initial_S), -1)
''',
    "tests/analysis/scores/test_worst.py": """import numpy as np

from analysis.scores.worst import worst_loss


def test_by_hand():
    losses_LS = np.array([[1.0, 3.0], [0.5, np.inf]])
    assert worst_loss(losses_LS, np.array([4.0, 4.0]), np.array([0.1, 1.0])) == 4.0
""",
    "tests/bench/methods/test_student_t.py": """import torch

from bench.methods.student_t import StudentT


def test_two_keys_by_hand():
    q, k = torch.ones(1, 1, 1, 1), torch.tensor([2.0, 0.0]).reshape(1, 1, 2, 1)
    p = StudentT(freedom=1.0).weights(q, k, torch.ones(1, 2, dtype=torch.bool), {})
    torch.testing.assert_close(p.flatten(), torch.tensor([5 / 6, 1 / 6]))
""",
    "tests/bench/probes/test_row_peak.py": """import torch

from bench.probes.base import Attention
from bench.probes.row_peak import RowPeak


def test_by_hand():
    p = torch.tensor([[0.5, 0.5], [0.1, 0.9]])[None, None]
    layer = Attention(z_BHQK=p, p_BHQK=p, mask_B1QK=torch.ones(2, 2, dtype=torch.bool))
    torch.testing.assert_close(RowPeak().measure(layer)["row_peak"], torch.tensor(0.7))
""",
}
# File, a line that it has once, and what comes after it.
LINES = (
    (
        "bench/methods/__init__.py",
        "METHODS: dict[str, str] = {\n",
        '    "student_t": "bench.methods.student_t:StudentT",\n',
    ),
    (
        "bench/optimizers/__init__.py",
        "OPTIMIZERS: dict[str, str] = {\n",
        '    "sign_sgd": "bench.optimizers.sign_sgd:SignSGD",\n',
    ),
    (
        "analysis/references/sources.bib",
        "",
        """
@inproceedings{bernstein2018signsgd,
  author    = {Bernstein, Jeremy and Wang, Yu-Xiang and Azizzadenesheli, Kamyar and Anandkumar, Animashree},
  title     = {{signSGD}: Compressed Optimisation for Non-Convex Problems},
  booktitle = {International Conference on Machine Learning},
  year      = {2018},
}
""",
    ),
    (
        "tests/conformance/optimizer_references.py",
        "REFERENCES = {\n",
        '    "sign_sgd": lambda params, entry, lr, decay: lambda factor: [\n'
        "        x.data.sub_(factor * lr * x.grad.sign()) for x in params.values()\n    ],\n",
    ),
    ("tests/conformance/optimizer_references.py", "PUBLISHED = {\n", '    "sign_sgd": {},\n'),
    ("bench/probes/__init__.py", "PROBES: dict[str, str] = {\n", '    "row_peak": "bench.probes.row_peak:RowPeak",\n'),
    (
        "analysis/scores/kinds.py",
        "from analysis.stuck import STUCK_SHARE\n",
        "from analysis.scores.worst import worst_loss\n",
    ),
    (
        "analysis/scores/kinds.py",
        "SCORE_KINDS: dict[str, ScoreKind] = {\n",
        '    "worst_loss": ScoreKind(title="Worst loss", definition="largest of the losses at all learning rates", '
        'unit="loss", bounds=_ANY, higher_is_better=False, part=along_lrs, function=worst_loss, spread=smooth),\n',
    ),
    (
        "bench/held_out.py",
        "HELD_OUT: dict[str, Measure] = {\n",
        '    "val_error": Measure(title="Held-out errors", heading="Errors", unit="1", low=0.0, high=1.0, '
        'higher_is_better=False, definition="share of held-out predictions that are wrong"),\n',
    ),
    (
        "bench/models/classify.py",
        "HELD_OUT_MEASURES: dict[str, Callable[[Mapping[str, Tensor]], Tensor]] = {\n",
        '    "val_error": lambda means: 1 - means["accuracy"],\n',
    ),
)
SUITE = """
name: stranger
workloads:
  - {name: image_classification, num_steps: 20, final_loss_steps: 5, batch_size: 16, depth: 1, eval_every_steps: 10}
methods: [softmax, student_t]
optimizers: [sign_sgd]
knobs: {lr: [1e-4, 1e-3]}
seeds: 2
probes: [entropy, row_peak]
probe_every: 5
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The program and its tests with the additions."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("bench", "analysis", "suites", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    add_lines(folder, LINES)
    (folder / "stranger.yaml").write_text(SUITE)
    return folder


def python(folder, *words):
    """What `python -m WORDS` prints in the folder."""
    environment = {
        **os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200", "NO_COLOR": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def trained(copy):
    """The copy after a run of the suite that uses all five."""
    python(copy, "bench.cli", "run", "stranger.yaml")
    return copy


@pytest.mark.parametrize(
    ("tests", "names"),
    [
        (
            [
                "tests/bench/methods/test_student_t.py",
                "tests/bench/probes/test_row_peak.py",
                "tests/analysis/scores/test_worst.py",
            ],
            "",
        ),
        (["tests/conformance/test_methods.py"], "student_t"),
        (["tests/conformance/test_optimizers.py"], "sign_sgd"),
        (["tests/conformance/test_probes.py"], "row_peak"),
        (["tests/analysis/paper/test_bibliography.py"], ""),
        (["tests/bench/test_held_out.py"], "words or computed"),
        (["tests/analysis/scores/test_registry.py"], ""),
    ],
    ids=["their_own", "methods", "optimizers", "probes", "bibliography", "held_out", "scores"],
)
def test_tests_take_up_what_was_added(copy, tests, names):
    chosen = ("-m", "not slow and not gpu", "-k", names)
    assert "passed" in python(copy, "pytest", "-p", "no:cacheprovider", *chosen, *tests)


def test_the_documentation_is_made_with_what_was_added(copy):
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
    python(copy, "tests.documentation")
    text = (copy / "suites/README.md").read_text() + (copy / "analysis/README.md").read_text()
    assert all(f"`{name}`" in text for name in ("student_t", "sign_sgd", "row_peak", "val_error", "worst_loss"))


def test_the_leaderboard_has_what_was_added(trained):
    board = pl.DataFrame(json.loads(python(trained, "bench.cli", "leaderboard", "stranger.yaml", "--format", "json")))
    assert set(board["method"]) == {"softmax", "student_t"}
    assert set(board["optimizer"]) == {"sign_sgd"}
    assert ((board["val_error"] + board["val_accuracy"] - 1).abs() < 1e-6).all()


def test_scores_have_what_was_added(trained):
    text = python(trained, "bench.cli", "scores", "stranger.yaml", "--format", "csv")
    assert "student_t" in text
    assert "worst_loss" in text


def test_the_report_shows_what_was_added(trained):
    python(trained, "bench.cli", "report", "stranger.yaml", "--out", "report")
    page = (trained / "report/index.html").read_text()
    (figure,) = (trained / "report/figures").glob("training_behaviour*.svg")
    assert all(words in page for words in ("student_t", "sign_sgd", ">Errors<"))
    assert all(words in figure.read_text() for words in ("student_t", "row_peak", "val_error"))


def test_the_bundle_cites_what_was_added(trained):
    python(trained, "bench.cli", "export", "stranger.yaml", "--bundle", "paper")
    assert "bernstein2018signsgd" in (trained / "paper/references.bib").read_text()
    assert "student_t: this project" in (trained / "paper/README.txt").read_text()


def test_the_store_is_verified_with_what_was_added(trained):
    assert python(trained, "bench.cli", "verify", "stranger.yaml") == ""  # a line a finding
