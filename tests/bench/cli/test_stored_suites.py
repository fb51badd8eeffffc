"""A suite that was run is read by its name, from the text that the store keeps of it."""

import json
import math
import sys
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.outcome import Outcome, Result
from bench.results.stored import find_stored
from bench.store import Store, Tracker, read_suite_text
from bench.suite import Context, Suite, find_suite, load_suite, parse_suite, shipped_suites
from tests.command_line import bench_here
from tests.repetitions import one_of_each_kind

SUITE = """
name: kept  # a comment
workloads: [{name: in_context_regression, num_steps: 40, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}]
methods: [softmax, METHOD]
optimizers: [sgd]
knobs: {lr: [1e-3, 0.1], grad_clip: [off, 1.0]}
seeds: 2
probe_every: 1
"""
CODE = """
from dataclasses import dataclass
from bench.methods.softmax import Softmax
@dataclass(frozen=True)
class Mine(Softmax):
    "Softmax under another name."
"""


def run(folder: Path, text: str, *, keeps: bool = True, allow_code: bool = False) -> Suite:
    """As a run of the suite would leave the store, without training; its file is gone."""
    (folder / "suite.yaml").write_text(text)
    suite = load_suite(folder / "suite.yaml", allow_code=allow_code)
    tracker = Tracker(Store(folder / "store", f"sqlite:///{folder / 'store/mlflow.db'}", warn=pytest.fail), suite.name)
    if keeps:
        tracker.keep_suite(suite.text)
    results = [
        Result(
            trial=trial,
            outcome=Outcome.COMPLETED,
            initial_loss=4.0,
            final_loss=1 + abs(math.log10(trial.knobs.lr) + 1) / 2 + trial.seed / 50 + len(trial.method.name) / 30,
            wall_s=2.0,
        )
        for trial in suite.expand()
    ]
    tracker.put(results, {})
    assert tracker.deliver() == 0
    tracker.finish("FINISHED")
    assert tracker.close() == 0
    (folder / "suite.yaml").rename(folder / "elsewhere.yaml")
    return suite


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    run(folder, SUITE.replace("METHOD", "relu_kernel"))
    return folder


def test_the_store_keeps_the_file_as_it_was(folder):
    store = Store(folder / "store", warn=pytest.fail)
    assert read_suite_text(store, "kept") == (folder / "elsewhere.yaml").read_text()
    assert read_suite_text(store, "other") is None


@pytest.mark.parametrize("words", [("leaderboard", "--format", "csv"), ("scores", "--format", "csv"), ("verify",)])
def test_the_name_says_what_the_file_says(folder, words):
    command, *options = words
    by_name, by_file = (
        bench_here(folder, command, one, *options, "--store", "store") for one in ("kept", "elsewhere.yaml")
    )
    assert (by_name.returncode, by_name.stdout, by_name.stderr) == (by_file.returncode, by_file.stdout, by_file.stderr)
    assert by_name.stdout


@pytest.mark.slow
def test_reports_and_bundles_are_of_the_name(folder):
    for command, option in (("report", "--out"), ("export", "--bundle")):
        done = bench_here(folder, command, "kept", option, command, "--store", "store")
        assert done.returncode == 0, done.stderr
    assert "relu_kernel" in (folder / "report/leaderboard.csv").read_text()
    assert "bench export kept --bundle DIR" in (folder / "export/README.txt").read_text()


def test_figures_are_of_the_name(folder):
    done = bench_here(folder, "figures", "kept", "--only", "1", "--out", "figures", "--store", "store")
    assert "grad_clip=1: skipped 1: no traces at lr = 0.001 of relu_kernel, softmax" in done.stderr


def test_a_name_is_a_side_of_a_comparison_and_a_place_for_imports(folder):
    done = bench_here(folder, "diff", "kept", "elsewhere.yaml", "--store", "store", "--format", "csv")
    assert done.stdout.count("identical") == 4
    (folder / "theirs.csv").write_text("method,lr,seed,loss\nx,0.1,0,1.0\n")
    refused = bench_here(folder, "import", "theirs.csv", "--suite", "kept", "--workload", "w", "--store", "store",
                         "--initial-loss", "4")  # fmt: skip
    assert "required a workload of suite 'kept'" in refused.stderr


@pytest.mark.parametrize(
    ("workload", "method"),
    [
        ("language_modeling, corpus: words.txt, tokenizer: characters", "softmax"),
        ("in_context_regression", "'mine_beside:Mine'"),
    ],
)
def test_what_lay_beside_the_file_is_asked_for_where_it_is_not_found(tmp_path, monkeypatch, workload, method):
    """A store tells no one's folders, so that a stored suite looks in the current one alone."""
    (tmp_path / "words.txt").write_text("to be or not to be, that is the question\n" * 1000)
    (tmp_path / "mine_beside.py").write_text(CODE)
    text = f"name: away\nworkloads: [{{name: {workload}, num_steps: 20}}]\nmethods: [{method}]\noptimizers: [sgd]\n"
    store = Store(tmp_path / "store", warn=pytest.fail)
    tracker = Tracker(store, "away")
    tracker.keep_suite(text + "knobs: {lr: [0.1, 1.0]}\nseeds: 1\nprobe_every: 10\n")
    tracker.finish("FINISHED")
    tracker.close()
    monkeypatch.chdir(tmp_path)
    assert find_stored("away", store, allow_code=True).name == "away"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.setattr("sys.path", [place for place in sys.path if place != str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mine_beside", raising=False)
    with pytest.raises(UsageError) as refused:
        find_stored("away", store, allow_code=True)
    found, advice = str(refused.value).splitlines()
    assert f"looked in {tmp_path / 'other'}" in found
    assert advice == "the store keeps the text of suite away, not its folder: name its file, or go where it lies"


def test_a_file_goes_before_the_store(folder):
    (folder / "kept").write_text((folder / "elsewhere.yaml").read_text().replace("relu_kernel", "elu_kernel"))
    try:
        done = bench_here(folder, "leaderboard", "kept", "--format", "csv", "--store", "store")
    finally:
        (folder / "kept").unlink()
    assert "8 of 16 trials have no result yet" in done.stderr
    assert "relu_kernel" not in done.stdout


def test_a_store_without_the_text_asks_for_the_file(tmp_path):
    run(tmp_path, SUITE.replace("METHOD", "relu_kernel"), keeps=False)
    done = bench_here(tmp_path, "leaderboard", "kept", "--store", "store")
    assert done.returncode == 2
    assert "has 16 trials of this suite that were trained here; required its file" in done.stderr


def test_code_of_a_kept_suite_is_imported_only_if_allowed(tmp_path, monkeypatch):
    (tmp_path / "kept_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    run(tmp_path, SUITE.replace("METHOD", "kept_code:Mine"), allow_code=True)
    refused = bench_here(tmp_path, "leaderboard", "kept", "--store", "store")
    assert refused.returncode == 2
    assert "suite kept in sqlite:" in refused.stderr
    assert ":4:20: method 'kept_code:Mine' is code that would be imported; pass --allow-code" in refused.stderr
    allowed = bench_here(tmp_path, "leaderboard", "kept", "--store", "store", "--allow-code", "--format", "csv")
    assert "kept_code:Mine" in allowed.stdout


# A grid, a search, a box, interventions, and one of each workload with data.
KINDS = {
    "quickstart", "edges_table1", "box_vit", "temperature_intervention", "lm_small", "mt_numbers_laptop",
    "asr_digits_laptop", "ssl_digits_laptop",
}  # fmt: skip


@pytest.mark.parametrize("name", one_of_each_kind(sorted(shipped_suites()), KINDS))
def test_a_suite_without_a_file_has_a_text_that_says_the_same(name):
    try:
        suite = load_suite(find_suite(name))
    except UsageError as error:  # its data are not here
        pytest.skip(str(error))
    made = Suite.model_validate(json.loads(suite.model_dump_json()), context=Context(allow_code=False))
    again = parse_suite(made.text, file_name="the store")
    assert [trial.id for trial in again.expand()] == [trial.id for trial in suite.expand()]
    assert (again.search, again.description) == (suite.search, suite.description)


LANGUAGE = """
name: language
workloads: [{name: language_modeling, corpus: text.txt, num_steps: 40, context: 16, final_loss_steps: 4}]
methods: [softmax, sigmoid_kernel]
optimizers: [adamw]
knobs: {lr: [1e-3, 0.1]}
seeds: 2
probe_every: 5
"""


@pytest.mark.parametrize("change", ["other", "gone"])
@pytest.mark.parametrize("by", ["name", "file"])
def test_results_are_read_where_data_are_others_than_those_trained_on(tmp_path, monkeypatch, change, by):
    """As on a laptop, of what a cluster trained: another Python's source, or a corpus that was never brought here."""
    monkeypatch.chdir(tmp_path)
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 40)
    suite = run(tmp_path, LANGUAGE)
    warnings = []
    store = Store(tmp_path / "store", f"sqlite:///{tmp_path / 'store/mlflow.db'}", warn=warnings.append)
    assert find_stored("language", store, allow_code=False).suite == suite
    assert warnings == []
    if change == "gone":
        text.unlink()
    else:
        text.write_text("whether it is nobler in the mind to suffer\n" * 40)
    found = find_stored("language" if by == "name" else "elsewhere.yaml", store, allow_code=False).suite
    assert found is not None
    assert found.expand() == suite.expand()
    where = "that are not here" if change == "gone" else "that differ from those here"
    assert warnings == [
        f"{store.shown_uri}: suite language was trained on data {where}; its results are read as they are"
    ]


def test_a_suite_with_some_trials_on_the_data_here_stands_for_those(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = tmp_path / "text.txt"
    for words in ("to be or not to be, that is the question\n", "whether it is nobler in the mind to suffer\n"):
        text.write_text(words * 40)
        suite = run(tmp_path, LANGUAGE)
    store = Store(tmp_path / "store", f"sqlite:///{tmp_path / 'store/mlflow.db'}", warn=pytest.fail)
    found = find_stored("language", store, allow_code=False).suite
    assert found is not None
    assert found.expand() == suite.expand()


OWN_WORKLOAD = """
from dataclasses import dataclass
from bench.workloads.language_modeling import LanguageModeling
@dataclass(frozen=True, kw_only=True)
class Mine(LanguageModeling):
    "The task under another name."
"""


def test_a_workload_whose_code_changed_is_not_read_as_it_was(tmp_path, monkeypatch):
    """Data may lie elsewhere; results of other code under the new code's name are what nobody asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question\n" * 40)
    code = tmp_path / "my_own_task.py"
    code.write_text(OWN_WORKLOAD)
    text = LANGUAGE.replace("name: language_modeling", "name: 'my_own_task:Mine'")
    suite = run(tmp_path, text, allow_code=True)
    code.write_text(OWN_WORKLOAD + "    changed = True\n")
    store = Store(tmp_path / "store", f"sqlite:///{tmp_path / 'store/mlflow.db'}", warn=pytest.fail)
    now = find_stored("elsewhere.yaml", store, allow_code=True).suite
    assert now is not None
    assert {trial.id for trial in now.expand()}.isdisjoint(trial.id for trial in suite.expand())
