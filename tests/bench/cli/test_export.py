"""`bench export`: a bundle from a store, bad usage in one line."""

import json
import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bench.outcome import Outcome, Result
from bench.suite import load_suite
from tests.command_line import bench_here as bench

SUITE = """
name: stored
workloads: [{name: in_context_regression, num_steps: 12, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}]
methods: [softmax, relu_kernel]
optimizers: [sgd]
knobs: {lr: [1e-3, 0.1]}
seeds: 2
probe_every: 3
"""
SEARCH = "search: {name: edge, budget: 8, on_grid: true}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    (folder / "stored.yaml").write_text(SUITE)
    (folder / "search.yaml").write_text(SUITE + SEARCH)
    return folder


@pytest.fixture(scope="module")
def stored(folder) -> Path:
    from bench.store import Store, Tracker
    from tests.bench.store.finished_packs import trace

    results = [
        Result(trial=trial, outcome=Outcome.COMPLETED, initial_loss=4.0, wall_s=1.0,
               final_loss=1.0 + trial.knobs.lr + trial.seed / 10)
        for trial in load_suite(folder / "stored.yaml", allow_code=False).expand()
    ]  # fmt: skip
    tracker = Tracker(Store(folder / "store", None, warn=pytest.fail), "stored")
    tracker.start(json.dumps({"manifest_version": 2, "suite": {}, "bench": "0.1.0", "device": "1 GPU (H100)"}))
    tracker.put(results[:-1], {one.trial.id: trace(number) for number, one in enumerate(results[:-1])})
    assert tracker.close() == 0
    return folder


@pytest.fixture(scope="module")
def exported(stored) -> CompletedProcess[str]:
    return bench(stored, "export", "stored.yaml", "--bundle", "paper", "--store", "store", "--compare", "paper")


@pytest.mark.slow
def test_export_writes_a_bundle_and_prints_its_document(exported, folder):
    assert exported.returncode == 0, exported.stderr
    assert exported.stdout == "paper/main.tex\n"
    assert "1 of 8 trials have no result yet" in exported.stderr
    written = {path.relative_to(folder / "paper").as_posix() for path in (folder / "paper").rglob("*")}
    assert {"tables/comparison.tex", "figures/training_behaviour.pdf", "figures/loss_against_lr.pdf"} <= written
    assert "1 GPU (H100)" in (folder / "paper/methods.tex").read_text()


@pytest.mark.slow
def test_what_a_bundle_says_of_its_command_is_not_private(exported, folder):
    text = (folder / "paper/README.txt").read_text()
    assert "    bench export stored --bundle DIR --score lr_sensitivity --loss train --compare paper\n" in text
    everything = "".join(path.read_text(errors="replace") for path in (folder / "paper").rglob("*.t*"))
    assert str(folder) not in everything


@pytest.mark.slow
def test_export_again_replaces_the_bundle(exported, folder):
    words = (
        "export",
        "stored.yaml",
        "--bundle",
        "paper",
        "--store",
        "store",
        "--score",
        "lr_sensitivity_seedwise",
        "--font",
        "serif",
    )
    found = bench(folder, *words)
    assert found.returncode == 0, found.stderr
    assert not (folder / "paper/tables/comparison.tex").exists()
    assert "--loss train --font serif\n" in (folder / "paper/README.txt").read_text()
    assert "lr\\_\\allowbreak{}sensitivity\\_\\allowbreak{}seedwise" in (folder / "paper/methods.tex").read_text()


@pytest.mark.slow
def test_searches_have_a_bundle_of_their_own_once_a_round_is_finished(stored):
    (stored / "other.yaml").write_text((SUITE + SEARCH).replace("name: stored", "name: other"))
    words = ("--bundle", "of_search", "--store", "store")
    assert_refused(stored, r"no round of suite 'other' is finished yet", "other.yaml", *words)
    found = bench(stored, "export", "search.yaml", *words)
    assert found.returncode == 0, found.stderr
    readme = (stored / "of_search/README.txt").read_text()
    assert "    bench export stored --bundle DIR\n" in readme
    assert "bisection for each seed" in (stored / "of_search/methods.md").read_text()
    assert_refused(
        stored, r"asks for a search, whose bundle takes no --compare", "search.yaml", *words, "--score", "edge_lr"
    )


NEEDS_STORE = [
    (("--score", "lr_sens"), r"unknown score 'lr_sens'"),
    (("--loss", "validation"), r"has a held-out loss"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("options", "said"), NEEDS_STORE)
def test_unknown_scores_and_losses_are_one_line_and_write_nothing(stored, options, said):
    assert_refused(stored, said, "stored.yaml", "--bundle", "new", "--store", "store", *options)


def test_bad_usage_is_one_line_and_writes_nothing(folder):
    (folder / "mine").mkdir()
    (folder / "mine/notes.md").write_text("mine")
    assert_refused(folder, r"mine: holds 'notes\.md', which is no earlier bundle", "stored.yaml", "--bundle", "mine")
    assert_refused(folder, r"did you mean 'paper'", "stored.yaml", "--bundle", "new", "--compare", "papr")
    assert (folder / "mine/notes.md").read_text() == "mine"


def assert_refused(folder: Path, said: str, *words: str) -> None:
    found = bench(folder, "export", *words)
    assert found.returncode == 2
    assert re.search(said, found.stderr)
    assert len(found.stderr.strip().splitlines()) == 1
    assert found.stdout == ""
    assert not (folder / "new").exists()
