"""The kinds of what a trial is made of: ids in stores stay valid, and one more is a line in each of three files."""

import dataclasses
import hashlib

import pytest

from bench.suite import load_suite
from bench.suite.kinds import KINDS as KINDS_OF_SUITES
from bench.trial import KINDS
from tests.bench.copied_code import ROOT, run_changed

# Of shipped suites whose data do not depend on the machine: the number of trials, and SHA-256 of their ids in order.
# Stores hold results under these ids; trials with other ids would be trained again.
STORED = {
    "paper_table1": (760, "777052b2fc7055d2", "b89a7b59d6e2c634b0dea6678ac1b36bcc5e267deb6b37d860200d7c7a1f7cec"),
    "quickstart": (108, "d04b94bfbc0c3f03", "7c55ab8ed5ebed8904c6f3c84a071e9080d7425f80e6ae6c7fd11d53b254fca0"),
}
# The same before weight decay had a choice of tensors, sigma-reparam one of gamma's start, and suites a control.
EARLIER = {
    "paper_table1": (665, "049926a410c9a8b9", "ca1426781b532e3249e3233fa7eb1c2f512ba9da5c136caef40749d0e891485f"),
    "quickstart": (108, "abe600b08ef76ef0", "470dfe99e84cd79f2d516368bed73d1fdda6e78c6d3999647f3e72e5cc171e06"),
}
# A further kind, which a suite may leave out: file, the line before, the new line.
FURTHER = (
    (
        "bench/trial.py",
        "    intervention: Choice | None = None  # none: the untouched twin\n",
        "    curriculum: Choice | None = None\n",
    ),
    (
        "bench/suite/kinds.py",
        '    "interventions": Kind(word="intervention", entries=INTERVENTIONS, '
        'base="bench.interventions.base:Intervention"),\n',
        '    "curricula": Kind(word="curriculum", entries=SCHEDULES, base="bench.optimizers.schedules:Schedule"),\n',
    ),
    ("bench/suite/suite.py", "    knobs: SerializeAsAny[KnobGrid]\n", "    curricula: Entries = ()\n"),
)
PROGRAM = """
import json, sys
import polars as pl
from analysis.curves import curves
from bench.results.standings import groups
from bench.suite import Suite, load_suite
from bench.outcome import Outcome, RESULT_COLUMNS, Result
from bench.trial import Trial

shipped = load_suite("suites/quickstart.yaml")
one = {"name": "s", "workloads": ["in_context_regression"], "methods": ["softmax"], "optimizers": ["sgd"],
       "knobs": {"lr": [0.1, 1.0]}, "seeds": 1, "probe_every": 10}
bare = Suite(**one).expand()
both = Suite(**one, curricula=["cosine", "inverse_sqrt"]).expand()
single = Suite(**one, curricula=["cosine"]).expand()
searched = Suite(**one, curricula=["cosine", "inverse_sqrt"], search="edge")
results = [Result(trial=t, outcome=Outcome.COMPLETED, initial_loss=2.0, final_loss=1.0, wall_s=1.0) for t in both]
rows = [result.row() for result in results]
frame = pl.DataFrame(rows, schema={name: getattr(pl, kind) for name, kind in RESULT_COLUMNS.items()})
print(json.dumps({
    "shipped": [trial.id for trial in shipped.expand()],
    "bare": [trial.id for trial in bare],
    "bare_plain": bare[0].to_dict(),
    "read_back": [Trial.from_dict(trial.to_dict()) == trial for trial in (*bare, *both)],
    "ids": [trial.id for trial in (*bare, *both)],
    "single": [trial.id for trial in single],
    "both": [trial.id for trial in both],
    "columns": list(rows[0]) == list(RESULT_COLUMNS),
    "labels": [row["curriculum"] for row in rows],
    "knobs": sorted(set(curves(frame)["knobs"])),
    "groups": [group.knobs for group in groups(searched)],
}))
"""


def summed(ids: list[str]) -> tuple[int, str, str]:
    """How many, the first, and SHA-256 of all in order."""
    return len(ids), ids[0], hashlib.sha256(" ".join(ids).encode()).hexdigest()


@pytest.fixture(scope="module")
def further(tmp_path_factory):
    """What PROGRAM prints in a copy of the code with a further kind."""
    return run_changed(tmp_path_factory.mktemp("further"), FURTHER, PROGRAM)


def test_suites_name_the_kinds_of_a_trial_in_its_order():
    assert tuple(kind.word for kind in KINDS_OF_SUITES.values()) == KINDS


@pytest.mark.parametrize("name", STORED)
def test_trials_of_shipped_suites_have_the_ids_that_stores_hold(name):
    assert summed([trial.id for trial in load_suite(ROOT / f"suites/{name}.yaml").expand()]) == STORED[name]


@pytest.mark.parametrize("name", EARLIER)
def test_trials_in_which_all_decays_have_the_ids_of_earlier_versions(name):
    """But for sigma-reparam, which starts otherwise than it did."""
    ids = []
    for trial in load_suite(ROOT / f"suites/{name}.yaml").expand():
        method = trial.method
        if method.name == "sigma_reparam_qk":
            method = dataclasses.replace(method, params={})
        if method.name != "softmax_control":
            ids.append(dataclasses.replace(trial.as_earlier, method=method).id)
    assert summed(ids) == EARLIER[name]


def test_a_kind_that_is_absent_is_no_part_of_an_id(further):
    assert further["shipped"] == [trial.id for trial in load_suite(ROOT / "suites/quickstart.yaml").expand()]
    assert "curriculum" not in further["bare_plain"]


def test_a_kind_that_is_there_is_part_of_the_id(further):
    assert len(set(further["ids"])) == len(further["ids"]) == 2 + 4
    assert further["single"] == further["both"][:2]
    assert all(further["read_back"])


def test_a_further_kind_has_its_column_and_keeps_entries_and_searches_apart(further):
    assert further["columns"]
    assert further["labels"] == ["cosine", "cosine", "inverse_sqrt", "inverse_sqrt"]
    assert further["knobs"] == further["groups"] == ["curriculum=cosine", "curriculum=inverse_sqrt"]
