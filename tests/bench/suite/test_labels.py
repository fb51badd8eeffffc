"""The field `labels` of a suite: checked with its place, and no part of what is trained."""

import pytest

from bench.errors import UsageError
from tests.bench.suite.small_suite import FIELDS, load, suite

TEXT = """\
name: small
workloads: [{name: in_context_regression, num_steps: 50}]
methods: [softmax, {name: window_softmax, width: 4}]
optimizers: [sgd]
knobs: {lr: [0.1, 1.0]}
seeds: 2
probe_every: 10
"""


def test_labels_change_no_trial():
    labels = {"softmax": "Softmax", "window_softmax(width=4)": "Window, $w = 4$", "in_context_regression": "ICR"}
    with_labels = suite(labels=labels)
    assert [trial.id for trial in with_labels.expand()] == [trial.id for trial in suite().expand()]
    assert with_labels.model_dump(mode="json")["labels"] == labels
    assert "labels" not in suite().model_dump(mode="json")
    assert with_labels != suite()
    assert len({with_labels, suite(labels=labels)}) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("labels: {softmx: S}", "8:10: labels names 'softmx', which is none of this suite; did you mean 'softmax'?"),
        ("labels:\n  softmax: S\n  window_softmax: S", "10:19: label 'S' of window_softmax is what softmax is called"),
        (
            "labels: {softmax: window_softmax}",
            "8:19: label 'window_softmax' of softmax is what window_softmax is called",
        ),
        (r"labels: {softmax: '$\foo$'}", r"8:19: label $\foo$: \foo is no command that plain text can be made of"),
        ("labels: {softmax: [1]}", "8:19: the label of softmax must be text, got a list"),
        ("labels: [softmax]", "8:9: labels must be a mapping of names to labels, got a list"),
    ],
)
def test_a_wrong_label_is_said_with_its_place(tmp_path, lines, message):
    with pytest.raises(UsageError) as caught:
        load(tmp_path, TEXT + lines + "\n")
    assert f"x.yaml:{message}" in str(caught.value)


def test_a_suite_in_python_says_the_same():
    with pytest.raises(UsageError, match=r"labels\.softmx: labels names 'softmx'"):
        suite(**FIELDS, labels={"softmx": "S"})
