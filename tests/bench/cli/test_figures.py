"""`bench figures` on a small suite: which files it writes, what it says, which words it refuses."""

import csv
import dataclasses
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bench.cli.app import app
from bench.cli.figures import _agreement_lines, _family, _keys
from bench.errors import UsageError
from bench.store import Store, Tracker
from bench.suite import load_suite
from bench.training import inspection
from bench.training.inspection import Agreement
from bench.training.pack import make_packs
from bench.training.train import train_pack
from tests.trials import language_trial

SUITE = """
name: small
workloads: [{name: in_context_regression, num_steps: 12, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}]
methods: [softmax, qk_layernorm_free]
optimizers: [sgd]
knobs: {lr: [1e-3, 0.1]}
seeds: [3, 4]
probe_every: 3
"""
FORMATS = (".csv", ".pdf", ".png", ".svg")
SEEN = ("figure_08_gammas", "figure_11_attention_sequence_0", "figure_11_attention_sequence_1", "rows_in_training")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A suite and a store of its results, trained as its workers would."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "small.yaml").write_text(SUITE)
    suite = load_suite(folder / "small.yaml")
    home = folder / "store"
    store = Store(home, warn=pytest.fail)
    store.create()
    tracker = Tracker(store, suite.name)
    with inspection.one_thread():
        for pack in make_packs(suite.expand(), max_lanes=8):
            tracker.put(*train_pack(pack))
    tracker.deliver()
    tracker.finish("FINISHED")
    tracker.close()
    return folder


def figures(folder: Path, *words: str) -> Result:
    suite, store = str(folder / "small.yaml"), str(folder / "store")
    return CliRunner().invoke(app, ["figures", suite, "--store", store, *words])


def written(found: Result) -> list[Path]:
    assert found.exception is None, found.exception
    return [Path(line) for line in found.stdout.splitlines()]


@pytest.fixture(scope="module")
def inspected(folder) -> Result:
    return figures(folder, "--out", str(folder / "seen"), "--only", "8, 11,rows,7", "--lr", "0.1", "--seed", "4")


@pytest.mark.slow
def test_every_figure_comes_in_every_format_with_its_csv(inspected, folder):
    paths = written(inspected)
    assert sorted(paths) == sorted(folder / "seen" / (stem + form) for stem in SEEN for form in FORMATS)
    for path in paths:
        assert path.stat().st_size > 0
    with (folder / "seen/figure_08_gammas.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"qk_layernorm_free"}
    assert {row["step"] for row in rows} == {str(step) for step in range(12)}


@pytest.mark.slow
def test_what_was_looked_into_and_what_is_missing_is_said(inspected):
    assert "looking into softmax, seed 4" in inspected.stderr
    assert "2 of 2 runs gave the stored losses again bit for bit (at least 5 each)" in inspected.stderr
    assert "skipped 7: Fig. 7 is Fig. 1 of a GPT-2" in inspected.stderr


@pytest.mark.slow
def test_stored_traces_are_drawn_without_training(folder):
    found = figures(folder, "--out", str(folder / "traces"), "--only", "2,9")
    assert [path.stem for path in written(found)[::4]] == [
        "figure_02_loss_against_lr",
        "figure_09_variance_and_entropy",
    ]
    assert "looking" not in found.stderr


def test_theory_needs_no_store(tmp_path):
    (tmp_path / "small.yaml").write_text(SUITE)
    found = figures(tmp_path, "--out", str(tmp_path / "theory"), "--only", "10")
    assert {path.stem for path in written(found)} == {"figure_10_entropy_against_norm"}
    assert not (tmp_path / "store").exists()


def refused(folder: Path, *words: str) -> str:
    """The one line that says why."""
    error = figures(folder, "--out", str(folder / "bad"), *words).exception
    assert isinstance(error, UsageError)
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "12"], "--only '12': figures are 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, rows"),
        (["--only", ","], "--only ',': figures are"),
        (["--only", "8", "--steps", "ten"], "--steps 'ten': required whole numbers with commas"),
    ],
)
def test_words_that_mean_nothing_are_refused_before_the_store_is_read(tmp_path, words, message):
    (tmp_path / "small.yaml").write_text(SUITE)
    assert refused(tmp_path, *words).startswith(message)
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "7"], "none of the figures 7 could be drawn"),
        (["--only", "1", "--lr", "0.5"], "--lr 0.5: no trial of .* learning rates are 0.001, 0.1"),
        (["--only", "8", "--seed", "0"], "--seed 0: no trial with it has a result; seeds are 3, 4"),
        (["--only", "8", "--steps", "5,12"], "steps to look at must be from 0 to 11, got 5 to 12"),
    ],
)
def test_what_the_store_does_not_hold_is_refused_in_one_line(folder, words, message):
    assert re.match(message, refused(folder, *words))


@pytest.mark.slow
def test_a_model_too_large_to_look_into_is_skipped_and_said(folder, monkeypatch):
    monkeypatch.setattr(inspection, "MAX_CPU_PARAMETERS", 10)
    found = figures(folder, "--out", str(folder / "large"), "--only", "2,8", "--device", "cpu")
    assert {path.stem for path in written(found)} == {"figure_02_loss_against_lr"}
    assert "skipped 8: in_context_regression" in found.stderr
    assert "at most 1e-05M is trained once more" in found.stderr


def test_figures_come_in_the_order_of_their_numbers():
    assert _keys(None, ["rows", "2", "10", "1"]) == ["1", "2", "10", "rows"]
    assert _keys("10,1,1", ["rows", "2", "10", "1"]) == ["1", "10"]


def test_runs_that_differ_are_told_from_those_that_part():
    same = Agreement(method="softmax", num_losses=5, largest_difference=0.0, parted_step=None)
    close = dataclasses.replace(same, method="close", largest_difference=2e-6)
    parted = dataclasses.replace(same, method="parted", largest_difference=0.5, parted_step=70)
    unknown = dataclasses.replace(same, method="unknown", num_losses=0, largest_difference=float("nan"))
    lines = list(_agreement_lines([same, close, parted, unknown]))
    assert lines[0] == "1 of 4 runs gave the stored losses again bit for bit (at least 5 each)"
    assert lines[1] == "close: losses differ from the stored ones by 2.0e-06 of them at most"
    assert lines[2].startswith("warning: parted: the second run parts from the stored one at step 70;")
    assert lines[3] == "warning: unknown: no loss is stored to compare the second run with"


def test_the_workload_tells_which_model_it_is():
    language = language_trial().workload
    models = {"gpt_1m": "gpt", "gpt2_124m": "gpt", "wortsman_2m": "gpt", "llama_1b": "llama"}
    for model, family in models.items():
        params = {**language.params, "model": model}
        assert _family(dataclasses.replace(language, params=params)) == family
    assert _family(dataclasses.replace(language, name="image_classification")) == "other"
