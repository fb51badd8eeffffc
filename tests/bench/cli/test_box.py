"""A suite with a box from its file to the board and the report, trained into a store; what is refused of it."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from analysis.paper.bibliography import keys_of
from analysis.paper.box_bundle import box_methods_text
from analysis.paper.prose import cited_keys
from bench.api import load
from bench.errors import UsageError
from bench.results.subjects import read_box
from bench.store import Store, Tracker
from bench.suite import load_suite
from bench.training.pack import make_packs
from bench.training.train import train_pack
from tests.analysis.latex_documents import compiled, complaints
from tests.command_line import bench_here

SUITE = """
name: tiny_box
workloads: [{name: in_context_regression, num_steps: 30, final_loss_steps: 8, batch_size: 8, depth: 1, num_pairs: 5}]
methods: [softmax, softmax_control, relu_kernel]
optimizers: [adamw, sgd]
box:
  lr: {log: [1e-4, 100]}
  optimizer: [adamw, sgd]
  weight_decay: {log: [1e-3, 1], zero: 0.2}
  beta2: {linear: [0.9, 0.999], when: {optimizer: [adamw]}}
design: {name: qmc, num_points: 16, num_replicates: 4}
seeds: 2
probe_every: 10
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A store in which all packs of SUITE are trained."""
    folder = tmp_path_factory.mktemp("box")
    (folder / "tiny_box.yaml").write_text(SUITE)
    suite = load_suite(folder / "tiny_box.yaml")
    tracker = Tracker(Store(folder / "store", None, warn=pytest.fail), suite.name)
    tracker.start(json.dumps({"manifest_version": 2, "suite": suite.model_dump(mode="json"), "bench": "0.1.0"}))
    tracker.keep_suite(suite.text)
    for pack in make_packs(suite.expand(), max_lanes=64):
        tracker.put(*train_pack(pack))
    assert tracker.close() == 0
    return folder


def run(folder: Path, *words: str):
    return bench_here(folder, *words, "--store", "store")


def test_the_board_has_every_method_with_intervals(folder):
    done = run(folder, "leaderboard", "tiny_box.yaml", "--format", "csv")
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert set(rows) == {"softmax", "softmax_control", "relu_kernel"}
    assert {row["optimizer"] for row in rows.values()} == {"adamw or sgd"}
    assert {(row["num_points"], row["num_seeds"], row["num_trials"]) for row in rows.values()} == {("16", "2", "32")}
    assert rows["softmax_control"]["control_of"] == "softmax"
    assert 0 < float(rows["softmax"]["diverged_share"]) < 1
    json_rows = json.loads(run(folder, "leaderboard", "tiny_box", "--format", "json").stdout)
    assert {row["method"]: row["robust_share"] for row in json_rows} == {
        method: float(row["robust_share"]) for method, row in rows.items()
    }


def test_the_report_has_page_tables_figures_and_every_trial(folder):
    done = run(folder, "report", "tiny_box.yaml", "--out", "report")
    assert done.returncode == 0, done.stderr
    page = (folder / "report" / "index.html").read_text()
    for words in (
        "Robust share over delta",
        "Best of so many draws",
        "Which knob matters",
        "Which knobs act together",
        "How far each knob can go",
        "A/A: softmax",
        "of a Sobol sequence, scrambled anew for each replicate (Sobol&#39; 1967; Owen 1998; Matousek 1998)",
    ):
        assert words in page
    trials = list(csv.DictReader(io.StringIO((folder / "report" / "box_trials.csv").read_text())))
    assert len(trials) == 3 * 16 * 2
    assert {row["beta2"] == "" for row in trials if row["optimizer"] == "adamw or sgd"} == {True, False}
    assert sorted({path.name.split("-")[0] for path in (folder / "report" / "figures").glob("*.svg")}) == [
        "expected_best",
        "importance",
        "pairs",
        "points",
        "profiles",
        "robust_share_board",
        "robust_share_own",
    ]


@pytest.mark.whole
def test_the_bundle_compiles_and_cites_what_it_states(folder):
    done = run(folder, "export", "tiny_box.yaml", "--bundle", "bundle")
    assert done.returncode == 0, done.stderr
    methods = (folder / "bundle" / "methods.md").read_text()
    for words in (
        "We trained 3 attention methods: relu",
        "at the same 16 settings of 4 knobs, drawn by Optuna [@akiba2019optuna]: lr from 0.0001 to 100 (log-uniform)",
        "in 4 scrambles [@sobol1967distribution; @owen1998scrambling; @matousek1998discrepancy]. The other knobs were",
        "random forests [@hutter2014efficient] and by PED-ANOVA for the best tenth of the box [@watanabe2023pedanova]",
        "[@dodge2019show; @tang2020showing]",
        "2 seeds",
    ):
        assert words in methods, words
    load("tiny_box", store=folder / "store").bundle(folder / "of_python")
    names = [path.relative_to(folder / "bundle") for path in (folder / "bundle").rglob("*")]
    assert {path.relative_to(folder / "of_python") for path in (folder / "of_python").rglob("*")} == set(names)
    assert complaints(compiled(folder / "bundle")) == []


def test_a_design_of_random_draws_cites_no_sequence(folder):
    suite = load_suite(folder / "tiny_box.yaml")
    drawn = read_box(suite, Store(folder / "store", None, warn=pytest.fail), loss="train")
    cited = {design: cited_keys(box_methods_text(replace(drawn, design=design))) for design in ("qmc", "random")}
    assert set(cited["qmc"]) - set(cited["random"]) == set(keys_of("design", "qmc"))
    assert set(cited["random"]) - set(cited["qmc"]) == {"bergstra2012random"}


def test_python_has_board_trials_and_charts(folder):
    results = load("tiny_box", store=folder / "store")
    assert results.leaderboard.height == 3
    assert results.trials.height == 3 * 16 * 2
    charts = {"expected_best", "importance", "pairs", "points", "points-2", "points-3", "profiles"}
    assert set(results.charts) == charts | {"robust_share_board", "robust_share_own"}
    with pytest.raises(UsageError, match=r"tiny_box draws a box: required a suite that trains its grid for \.scores"):
        _ = results.scores


def test_the_store_verifies(folder):
    from bench.results.publish import publish
    from bench.results.stored import Stored
    from bench.results.subjects import read_subject

    suite = load_suite(folder / "tiny_box.yaml")
    store = Store(folder / "store", None, warn=pytest.fail)
    tracker = Tracker(store, suite.name)
    publish(read_subject(Stored.of(suite), store), store, tracker, has_figures=False)
    tracker.finish("FINISHED")
    assert tracker.close() == 0
    done = run(folder, "verify", "tiny_box.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "96 of 96 trials have a result" in done.stderr


@pytest.mark.whole
def test_optuna_opens_the_studies_and_making_them_anew_changes_nothing(folder):
    for _ in range(2):
        done = run(folder, "optuna", "tiny_box.yaml", "--storage", f"sqlite:///{folder}/studies.db")
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"sqlite:///{folder}/studies.db\n"
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/studies.db")
    names = optuna.get_all_study_names(storage)
    assert len(names) == 3
    study = optuna.load_study(study_name=next(name for name in names if "relu_kernel" in name), storage=storage)
    trials = load("tiny_box", store=folder / "store").trials.filter(method="relu_kernel")
    assert len(study.trials) == 16
    assert study.user_attrs["seeds"] == [0, 1]
    for one in study.trials:
        rows = trials.filter(point=one.user_attrs["point"])
        assert one.user_attrs["trial_ids"] == rows["trial_id"].to_list()
        is_diverged = rows["outcome"] == "diverged"
        losses = [
            min(initial, initial if diverged else final)
            for initial, final, diverged in zip(rows["initial_loss"], rows["final_loss"], is_diverged, strict=True)
        ]
        assert one.value == pytest.approx(sum(losses) / 2)
        assert one.params["lr"] == rows["lr"][0]
        assert ("beta2" in one.params) == (one.params["optimizer"] == "adamw")
        assert one.params["weight_decay_is_special"] == (rows["weight_decay"][0] == 0)
    assert study.best_value == min(one.value for one in study.trials)
    storage.engine.dispose()


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("leaderboard", "tiny_box.yaml", "--score", "lr_sensitivity_seedwise"), "takes no --compare or --score"),
        (("leaderboard", "tiny_box.yaml", "--format", "latex"), "required --format table, md, csv, json; got latex"),
        (("report", "tiny_box.yaml", "--compare", "paper"), "whose report takes no --compare or --score"),
        (("leaderboard", "tiny_box.yaml", "--loss", "validation"), "without held-out data"),
        (("scores", "tiny_box.yaml"), "draws a box"),
        (("optuna", "tiny_box.yaml", "--storage", "nonsense"), "'nonsense' is no URL of a database"),
        (("box", "softmax", "--knobs", "lr,depth"), "--knobs 'depth': required some of lr, warmup_steps"),
        (("tune", "softmax", "--knobs", "lr,warmup_steps,lr"), "'lr,warmup_steps,lr': names lr twice"),
        (("tune", "softmax", "--knobs", "warmup_steps", "--high", "1"), "--low and --high are of lr; required them wi"),
        (("box", "softmax", "--points", "60"), "must be a multiple of num_replicates (8), got 60"),
        (("box", "softmx"), "did you mean 'softmax'?"),
        (("tune", "softmax", "--knobs", "lr,grad_clip", "--budget", "79"), "first round of 16 settings x 5 seeds = 80"),
        (("tune", "softmax", "--sampler", "gp"), "--sampler is for several knobs"),
        (("edge", "softmax", "--at", "warmup_stesp=0,10"), "did you mean 'warmup_steps'"),
        (("effects", "tiny_box.yaml"), "has no interventions"),
        (("export", "tiny_box.yaml", "--bundle", "new", "--compare", "paper"), "draws a box, whose bundle takes no"),
    ],
)
def test_what_a_box_has_not_is_refused_in_one_line(folder, words, refusal):
    done = run(folder, *words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert refusal in line
