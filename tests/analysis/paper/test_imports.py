"""What a bundle says of imports: whose runs they are, in the words of their records, and when they have diverged."""

import math

import polars as pl
import pytest

from analysis.paper.bundle import write_bundle
from analysis.paper.imports import divergence_rule, imported_rows, imported_text
from analysis.paper.prose import cited_keys, text_markdown
from analysis.scores.leaderboard import leaderboard
from analysis.subject import mark_imported
from tests.analysis.synthetic_results import frame, row, subject

OWN = "A trial has diverged as soon as its loss or gradient norm is not finite"
THEIRS = "where its file says so or its final loss is not finite"
COUNTS = "; its final loss then counts as infinite, so that a score sees the loss at init in its place."


def record(**other):
    return {"file": "t.csv", "sha256": "0123456789abcdef" * 4, "sources": ["A 2024", "B 2025"], "assumed": {}, **other}


def runs(method="softmax", **other):
    return [row(method, lr, seed, math.inf if lr == 1 else 2 - lr, **other) for lr in (0.1, 1.0) for seed in (0, 1)]


def told(rows, records):
    return text_markdown(imported_text(frame(rows), records)).strip()


def test_a_record_is_told_with_what_its_runs_are():
    assumed = {"optimizer": "unknown", "schedule": "constant", "warmup_steps": 0.0, "weight_decay": 0.0,
               "grad_clip": "off", "num_steps": "unknown"}  # fmt: skip
    assert told(runs(), {"t": record(assumed=assumed)}) == (
        "We imported 4 runs that others trained, of softmax [@vaswani2017attention]; on in\\_context\\_regression "
        "[@hong2025variance; @ahn2024linear]; with 2 learning rates (0.1, 1) and 2 seeds (0, 1); with init\\_scale 1; "
        "2 completed and 2 diverged. They are from the file t.csv (SHA-256 0123456789ab...), whose stated source is "
        "A 2024; B 2025. What the file does not state was taken to be: optimizer unknown, schedule constant, "
        "warmup\\_steps 0, weight\\_decay 0, grad\\_clip off, num\\_steps unknown."
    )


def test_what_a_file_states_is_told_and_nothing_is_said_to_be_assumed():
    text = told(runs(), {"t": record(sources=[])})
    assert (
        "; with the optimizer sgd [@robbins1951stochastic]; with the learning-rate schedule constant; for 2,000" in text
    )
    assert "; with warmup\\_steps 0, weight\\_decay 0, grad\\_clip off, init\\_scale 1; 2 completed" in text
    assert text.endswith("t.csv (SHA-256 0123456789ab...), which states no source.")


def test_each_import_is_told_by_itself():
    rows = [*runs("softmax(imported=a)"), *runs("linear"), *runs("linear(imported=b.2)")]
    text = told(
        rows,
        {
            name: record(file=f"{name}.csv")
            for name in (
                "a",
                "b.2",
                "rest",
            )
        },
    )
    parts = text.split("We imported 4 runs that others trained, of ")[1:]
    ends = [part.partition(" (SHA")[0].rpartition(" ")[2] for part in parts]
    assert [part.partition(";")[0].split(" [")[0] for part in parts] == [
        "softmax(imported=a)", "linear", "linear(imported=b.2)",
    ]  # fmt: skip
    assert ends == ["a.csv", "rest.csv", "b.2.csv"]


def test_without_a_record_the_source_is_said_to_be_unknown():
    assert told(runs(), {}).endswith("2 completed and 2 diverged. Where they are from is not recorded.")
    assert imported_text(frame([]), {"t": record()}) == []


def test_methods_of_imports_are_cited_by_name():
    assert cited_keys(imported_text(frame(runs("relu_kernel(imported=t)")), {}))[0] == "hong2025variance"


@pytest.mark.parametrize(
    ("own", "theirs", "rule"),
    [
        (True, False, OWN),
        (True, True, f"{OWN}, an imported run {THEIRS}"),
        (False, True, f"A run has diverged {THEIRS}"),
    ],
)
def test_the_rule_of_divergence_is_that_of_the_entries(own, theirs, rule):
    assert divergence_rule(has_own=own, has_imported=theirs) == rule + COUNTS
    data = frame([*(runs() if own else []), *(runs("x(imported=t)") if theirs else [])])
    imported = data.filter(pl.col("method").str.contains("imported"))
    board = mark_imported(leaderboard(data), data, imported["trial_id"])
    assert imported_rows(data, board).equals(imported)


def test_a_bundle_tells_imports_in_text_tables_and_readme(tmp_path):
    data = frame([*runs(), *runs("theirs_only(imported=t)", optimizer="unknown")])
    imported = data.filter(optimizer="unknown")["trial_id"].to_list()
    manifest = '{"imports": {"t": {"file": "t.csv", "sha256": "ff", "sources": [], "assumed": {}}}}'
    write_bundle(subject(data, imported=imported, read_manifest=lambda: manifest), tmp_path / "b")
    text = (tmp_path / "b/methods.md").read_text()
    assert "We trained one attention method: softmax" in text
    assert "We imported 4 runs that others trained, of theirs" in text
    assert f"an imported run {THEIRS}" in text
    uncited = (tmp_path / "b/README.txt").read_text().partition("Without an entry in references.bib:\n")[2]
    assert uncited.splitlines() == ["    theirs_only(imported=t): imported: add its source", "    constant: no decay"]
