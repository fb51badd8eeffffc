"""What a step costs: on the board of what has a cost in the manifest, and how far beyond the cheapest."""

import json

import pytest

from analysis.report.sections import report_sections
from analysis.scores.costs import COST_COLUMNS, step_costs, with_costs
from analysis.scores.leaderboard import leaderboard
from analysis.subject import Subject
from tests.analysis.synthetic_results import results, subject

WORKLOAD = results(num_seeds=1)["workload"][0]
COSTS = [
    {"workload": WORKLOAD, "method": "softmax", "num_parameters": 240, "step_flops": 1.5e7},
    {"workload": WORKLOAD, "method": "relu_kernel", "num_parameters": 250, "step_flops": 3e7},
    {"workload": "another", "method": "softmax", "num_parameters": 1, "step_flops": 1.0},
]


def test_a_board_has_the_costs_of_its_manifest_and_none_without():
    board = leaderboard(results(num_seeds=1))
    costed = with_costs(board, {"costs": COSTS})
    known = {entry["method"]: (entry["num_parameters"], entry["step_flops"]) for entry in costed.to_dicts()}
    assert (known["softmax"], known["relu_kernel"]) == ((240, 1.5e7), (250, 3e7))
    assert set(known.values()) == {(240, 1.5e7), (250, 3e7), (None, None)}
    assert costed.drop(*COST_COLUMNS).equals(board.drop(*COST_COLUMNS))
    assert with_costs(board, {}).equals(board)


def test_a_subject_reads_them_from_its_manifest():
    subject = Subject(name="s", title="s", results=results(num_seeds=1), read_manifest=lambda: '{"costs": []}')
    assert subject.board["num_parameters"].null_count() == subject.board.height


def test_costs_are_told_beyond_the_cheapest_method():
    found = step_costs(with_costs(leaderboard(results(num_seeds=1)), {"costs": COSTS}))
    (relu,) = found.filter(method="relu_kernel").to_dicts()
    assert (relu["parameters_over"], relu["flops_over"]) == (pytest.approx(10 / 240), pytest.approx(1.0))
    assert found.filter(method="softmax")["flops_over"].to_list() == [0.0]


def test_the_report_has_a_table_of_them():
    data = results(num_seeds=2)
    manifest = json.dumps({"costs": COSTS})
    sections = {one.title: one for one in report_sections(subject(data, read_manifest=lambda: manifest))}
    section = sections["What a step costs"]
    assert "| relu\\_kernel | 250 (+4.17%) | 3e+07 (+100.00%) |" in section.markdown
    assert "costs.csv" in section.files
    plain = report_sections(subject(data))
    assert "What a step costs" not in {one.title for one in plain}
