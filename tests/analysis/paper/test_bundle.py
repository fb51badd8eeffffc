"""The paper bundle: whole, compiles as it is, never in the way of what somebody else put there."""

import csv
import hashlib
import io
import json
import re

import polars as pl
import pytest

from analysis.figures.frames.aggregate import telling_lr
from analysis.paper.bibliography import OWN_KEY, bib_entries, keys_of
from analysis.paper.bundle import write_bundle
from analysis.paper.files import SUMS_FILE
from analysis.references import load
from analysis.scores.leaderboard import leaderboard
from bench.errors import UsageError
from bench.outcome import RESULT_COLUMNS
from tests.analysis.latex_documents import compiled, complaints
from tests.analysis.synthetic_results import METHODS, frame, results, row, subject, traces, with_held_out

HOSTILE = 'a_b%&$#{}~^\\|<>"[x]*'
FEW = {name: METHODS[name] for name in ("softmax", "relu_kernel")}
KEYS = {"in_context_regression": 21, HOSTILE: 21}


def hostile():
    rows = [row(HOSTILE, lr, seed, 1.0 + lr, workload=HOSTILE) for lr in (1e-5, 1.0) for seed in (0, 1)]
    return frame([*rows, row(HOSTILE, 1.0, 2, float("inf"), workload=HOSTILE)])


def small(path, data=None, **more):
    data = hostile() if data is None else data
    return write_bundle(subject(data, num_keys=KEYS, **more), path)


@pytest.fixture(scope="module")
def data():
    return results(num_seeds=3, methods=FEW)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, data):
    out = tmp_path_factory.mktemp("bundle") / "new" / "folder"
    drawn = data.filter((pl.col("lr") - telling_lr(data)).abs() < 1e-9)
    manifest = json.dumps({"suite": {}, "bench": "0.1.0", "device": "1 GPU (H100)"})
    shown = subject(data, traces(drawn), title="Two methods", num_keys=KEYS, read_manifest=lambda: manifest,
                    published=load("paper"))  # fmt: skip
    paths = write_bundle(shown, out, command="bench export x --bundle DIR")
    return out, paths


def test_all_files_are_there_and_listed(bundle):
    out, paths = bundle
    assert paths[0] == out / "main.tex"
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {path.relative_to(out).as_posix() for path in paths} == found
    kinds = ("loss_against_lr", "training_behaviour", "entropy_by_layer", "diverged_map")
    figures = {f"figures/{kind}.{suffix}" for kind in kinds for suffix in ("pdf", "svg", "csv")}
    names = ("scores", "score_differences", "lr_shift", "seeds_to_separate")
    scores = {f"scores/{name}.csv" for name in names}
    assert found == figures | scores | {
        "tables/leaderboard.tex", "tables/comparison.tex", "tables/scores.tex", "tables/differences.tex",
        "main.tex", "preamble.tex", "figures.tex", "methods.tex",
        "methods.md", "references.bib", "numbers.csv", "leaderboard.csv", "differences.csv", "manifest.json",
        "README.txt", SUMS_FILE,
    }  # fmt: skip
    assert all(path.stat().st_size for path in paths)


def test_checksums_are_those_of_sha256sum(bundle):
    out, paths = bundle
    lines = dict(line.split("  ")[::-1] for line in (out / SUMS_FILE).read_text().splitlines())
    assert set(lines) == {path.relative_to(out).as_posix() for path in paths} - {SUMS_FILE}
    assert all(hashlib.sha256((out / name).read_bytes()).hexdigest() == digest for name, digest in lines.items())


@pytest.mark.whole
def test_it_compiles_without_a_complaint(bundle):
    out, _ = bundle
    log = compiled(out)
    assert complaints(log) == []
    assert "Output written on main.pdf" in log


def test_references_are_what_is_cited_and_what_the_scores_follow_and_all_that_is_input_exists(bundle):
    out, _ = bundle
    cited = {
        key for keys in re.findall(r"\\cite\{(.*?)\}", (out / "methods.tex").read_text()) for key in keys.split(",")
    }
    assert "zhai2023stabilizing" in cited  # of the entropy collapse that the figures mark
    table = pl.read_csv(out / "scores/scores.csv").filter(pl.col("value").is_not_null())
    followed = {key for name in table["score"].unique() for key in keys_of("score", name)}
    assert {"pitman1939note", "morgan1939test"} <= followed
    held = set(re.findall(r"^@\w+\{(\w+),", (out / "references.bib").read_text(), flags=re.MULTILINE))
    assert held == cited | followed
    assert cited - {OWN_KEY} <= set(bib_entries())
    readme = (out / "README.txt").read_text()
    assert re.search(r"^    final_loss_spread: standard .* \[pitman1939note, morgan1939test\]$", readme, re.MULTILINE)
    for name in re.findall(r"\\input\{(.*?)\}", (out / "main.tex").read_text()):
        assert (out / f"{name}.tex").is_file()
    for name in re.findall(r"\\includegraphics\{(.*?)\}", (out / "figures.tex").read_text()):
        assert (out / name).is_file()


def test_the_program_is_cited_with_its_version(bundle):
    out, _ = bundle
    references = (out / "references.bib").read_text()
    assert "@software{attentionrobustnessbench," in references
    assert "version   = {0.1.0}" in references
    assert r"attention-robustness-bench 0.1.0~\cite{attentionrobustnessbench}" in (out / "methods.tex").read_text()


def test_equal_results_give_equal_bytes(tmp_path):
    sums = [small(tmp_path / name)[0].parent / SUMS_FILE for name in ("one", "two")]
    assert sums[0].read_text() == sums[1].read_text()


def test_scores_from_traces_are_cited_where_traces_were_measured(tmp_path, data):
    some = traces(data.filter(pl.col("lr") < 1e-3))
    paths = small(tmp_path / "b", data, its_traces=some, is_measured=True)
    assert tmp_path / "b/scores/scores.csv" in paths
    table = pl.read_csv(tmp_path / "b/scores/scores.csv").filter(pl.col("value").is_not_null())
    assert {"lowest_entropy", "entropy_collapse_share"} & set(table["score"])
    held = set(re.findall(r"^@\w+\{(\w+),", (tmp_path / "b/references.bib").read_text(), flags=re.MULTILINE))
    assert {key for name in table["score"].unique() for key in keys_of("score", name)} <= held


def test_numbers_are_the_results_and_the_leaderboard_to_the_last_digit(bundle, data):
    out, _ = bundle
    read = pl.read_csv(out / "numbers.csv", schema=data.schema)
    assert read.select(*RESULT_COLUMNS).equals(data.select(*RESULT_COLUMNS))
    rows = list(csv.DictReader(io.StringIO((out / "leaderboard.csv").read_text())))
    assert [float(one["lr_sensitivity"]) for one in rows] == leaderboard(data)["lr_sensitivity"].to_list()


def test_readme_says_what_is_what_and_how_to_make_it_again(bundle):
    out, _ = bundle
    text = (out / "README.txt").read_text()
    assert "bench export x --bundle DIR" in text
    top = {path.name + ("/" if path.is_dir() else "") for path in out.iterdir()} - {"README.txt"}
    listed = {line.split("  ")[0] for line in text.splitlines() if "  " in line and not line.startswith(" ")}
    assert {name for name in top if not name.startswith("main.") or name == "main.tex"} == listed
    assert "constant: no decay" in text


@pytest.mark.whole
def test_an_earlier_bundle_is_replaced_unless_it_was_changed(tmp_path, data):
    out = tmp_path / "b"
    small(out, read_manifest=lambda: '{"suite": {}}')
    (out / "main.aux").write_text("left by LaTeX")
    small(out)
    assert (out / "main.aux").is_file()
    assert not (out / "manifest.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    (out / "main.tex").write_text("my edits")
    with pytest.raises(UsageError, match=r"'main\.tex' changed since"):
        small(out, data)
    assert (out / "main.tex").read_text() == "my edits"


def test_without_a_result_nothing_is_written(tmp_path):
    with pytest.raises(UsageError, match="nothing to export"):
        small(tmp_path / "b", frame([row("softmax", 0.1, 0, None)]))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_hostile_names_with_optimizers_and_held_out_data_compile(tmp_path):
    both = pl.concat(
        hostile().with_columns(optimizer=pl.lit(name), trial_id=pl.concat_str(pl.lit(name), "trial_id"))
        for name in (HOSTILE, "sgd")
    )
    paths = small(tmp_path / HOSTILE.replace("/", ""), with_held_out(both))
    names = {path.name for path in paths}
    assert {"matrix.tex", "held_out.tex", "val_loss_against_lr.pdf", "loss_against_lr-2.pdf"} <= names
    assert complaints(compiled(tmp_path / HOSTILE.replace("/", ""))) == []
