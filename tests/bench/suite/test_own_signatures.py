"""A user's class whose functions can't be called as its base's are is refused where the suite names it."""

import sys

import pytest

from bench.entry import load_class, odd_overrides
from bench.errors import UsageError
from bench.suite import load_suite
from bench.suite.kinds import KINDS
from tests.command_line import bench_here

CODE = """
from dataclasses import dataclass
from bench.methods.softmax import Softmax
from bench.workloads.in_context_regression import InContextRegression

@dataclass(frozen=True)
class Old(Softmax):
    def limit_params(self, params):
        return params

@dataclass(frozen=True)
class Older(Softmax):
    def limit_grads(self, grads):
        return grads

    def limit_projections(self, query_CHD, key_CHD, max_logit_H):
        return query_CHD, key_CHD

@dataclass(frozen=True)
class OldModel(InContextRegression):
    def limit(self, method, params, max_logits):
        return params

@dataclass(frozen=True)
class Renamed(Softmax):
    def limit_params(self, tensors, now, more=1):
        return tensors

@dataclass(frozen=True)
class Open(Softmax):
    def limit_params(self, *arguments, **named):
        return arguments[0]

@dataclass(frozen=True)
class Static(Softmax):
    @staticmethod
    def limit_params(params, step):
        return params
"""
SUITE = """name: own
workloads: [{workload}]
methods:
  - softmax
  - {method}
optimizers: [sgd]
schedules: [constant]
knobs: {{lr: 0.1}}
seeds: 1
probe_every: 10
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A directory with a user's module, and nothing of it imported before or after."""
    (tmp_path / "own_signatures.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield tmp_path
    sys.modules.pop("own_signatures", None)


def written(folder, *, method="relu_kernel", workload="in_context_regression"):
    path = folder / "x.yaml"
    path.write_text(SUITE.format(method=method, workload=workload))
    return path


@pytest.mark.parametrize(
    ("entry", "place", "words"),
    [
        ({"method": "Old"}, "5:5", "limit_params(self, params) must be limit_params(self, params, step)"),
        (
            {"method": "Older"},
            "5:5",
            "limit_grads(self, grads) must be limit_grads(self, grads, step); "
            "limit_projections(self, query_CHD, key_CHD, max_logit_H) must be "
            "limit_projections(self, query_CHD, key_CHD, max_logit_H, step)",
        ),
        (
            {"workload": "OldModel"},
            "2:13",
            "limit(self, method, params, max_logits) must be limit(self, method, params, max_logits, step)",
        ),
    ],
)
def test_an_old_signature_is_one_line_that_says_the_new_one(entry, place, words, folder):
    path = written(folder, **{kind: f"own_signatures:{name}" for kind, name in entry.items()})
    with pytest.raises(UsageError) as caught:
        load_suite(path, allow_code=True)
    (name,) = entry.values()
    base = "bench.methods.base.Method" if "method" in entry else "bench.workloads.base.Workload"
    expected = f"{path}:{place}: 'own_signatures:{name}' can't be called as {base} is: {words}"
    assert str(caught.value) == expected


def test_the_command_ends_with_2_before_training(folder):
    path = written(folder, method="own_signatures:Old")
    done = bench_here(folder, "validate", path, "--allow-code")
    assert done.returncode == 2
    assert "limit_params(self, params, step)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["Renamed", "Open", "Static"])
def test_what_can_be_called_is_taken(name, folder):
    suite = load_suite(written(folder, method=f"own_signatures:{name}"), allow_code=True)
    assert suite.methods[1].name == f"own_signatures:{name}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shipped_can_be_called(kind):
    base = load_class(KINDS[kind].base)
    for target in KINDS[kind].entries.values():
        assert odd_overrides(load_class(target), base) == {}
