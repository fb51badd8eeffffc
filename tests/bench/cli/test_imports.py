"""`bench import` and `bench diff` on the command line: what is wrong with a file is one line that says where."""

import io
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from bench.store import VIEWS, Store, suite_link, view_link
from tests.analysis.latex_documents import compiled, complaints
from tests.command_line import bench_here

GOOD = "method,lr,seed,loss,initial_loss\na,0.1,0,1,2\na,0.2,0,1.5,2\n"
COMMITTED = Path(__file__).parents[3] / "suites/results"


@pytest.fixture
def bench(monkeypatch, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process, in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        found = bench_here(tmp_path, *words)
        return found.returncode, found.stdout, found.stderr

    return run


def rows(*lines: str, header: str = "method,lr,seed,loss,initial_loss") -> bytes:
    return "\n".join([header, *lines, ""]).encode()


def parquet(**columns: list) -> bytes:
    buffer = io.BytesIO()
    whole = {"method": ["a"], "lr": [0.1], "seed": [0], "loss": [1.0], "initial_loss": [2.0]} | columns
    pl.DataFrame(whole).write_parquet(buffer)
    return buffer.getvalue()


DAMAGED: list[tuple[str, bytes, str]] = [
    ("empty", b"", "the file is empty"),
    ("only_spaces", b" \n \n", "the file is empty"),
    ("only_a_header", b"method,lr,seed,loss,initial_loss\n", "no rows below the header"),
    ("no_lr", rows("a,0,1,2", header="method,seed,loss,initial_loss"), "no column 'lr'"),
    ("no_initial_loss", rows("a,0.1,0,1", header="method,lr,seed,loss"), "takes --initial-loss X"),
    ("no_header", b"a,0.1,0,1,2\nb,0.1,0,1,2\n", "column 1 ('a') is not known"),
    ("lr_is_text", rows("a,0.1,0,1,2", "a,fast,0,1,2"), "row 2, column 'lr': 'fast'; required a finite number above 0"),
    ("lr_has_commas", rows('a,"0,1,2",0,1,2'), "row 1, column 'lr': '0,1,2'"),
    ("lr_is_negative", rows("a,-0.1,0,1,2"), "row 1, column 'lr': '-0.1'"),
    ("lr_is_zero", rows("a,0,0,1,2"), "row 1, column 'lr': '0'"),
    ("lr_is_infinite", rows("a,inf,0,1,2"), "row 1, column 'lr': 'inf'"),
    ("lr_is_empty", rows("a,0.1,0,1,2", "a,,0,1,2"), "row 2, column 'lr': empty"),
    ("seed_is_a_fraction", rows("a,0.1,0.5,1,2"), "row 1, column 'seed': '0.5'; required a whole number"),
    ("seed_is_negative", rows("a,0.1,-1,1,2"), "row 1, column 'seed': '-1'"),
    ("seed_is_huge", rows("a,0.1,4294967296,1,2"), "row 1, column 'seed': '4294967296'"),
    ("loss_is_text", rows("a,0.1,0,low,2"), "row 1, column 'final_loss': 'low'"),
    ("loss_is_na", rows("a,0.1,0,NA,2"), "row 1, column 'final_loss': 'NA'; required a number; inf or nan where"),
    ("loss_is_empty", rows("a,0.1,0,,2"), "row 1, column 'final_loss': empty"),
    ("initial_loss_is_text", rows("a,0.1,0,1,high"), "row 1, column 'initial_loss': 'high'; required the loss before"),
    ("initial_loss_is_empty", rows("a,0.1,0,1,"), "row 1, column 'initial_loss': empty"),
    ("method_is_empty", rows(",0.1,0,1,2"), "row 1, column 'method': empty"),
    ("method_is_long", rows(f"{'a' * 2001},0.1,0,1,2"), "row 1, column 'method': 'aaaa"),
    ("method_breaks_the_line", rows('"a\nb",0.1,0,1,2'), "row 1, column 'method': 'a\\nb'"),
    ("method_hides_a_bell", rows("a\x07,0.1,0,1,2"), "row 1, column 'method': 'a\\x07'"),
    ("the_same_run_twice", rows("a,0.1,0,1,2", "b,0.1,0,1,2", "a,1e-1,0,3,2"), "row 3, columns method, lr, seed: the"),
    ("one_cell_less", rows("a,0.1,0,1,2", "a,0.2,0,1"), "row 2 (line 3): 4 cells; required 5"),
    ("one_cell_more", rows("a,0.1,0,1,2,3"), "row 1 (line 2): 6 cells; required 5"),
    ("an_open_quote", rows('"a,0.1,0,1,2'), "line 2, after row 0: not CSV"),
    ("a_column_without_a_name", rows("a,0.1,0,1,2,3", header="method,lr,seed,loss,initial_loss,"), "column 6 has no"),
    ("a_column_twice", rows("a,0.1,0,1,2,3", header="method,lr,seed,loss,initial_loss,lr"), "columns 2 and 6 are both"),
    ("two_losses", rows("a,0.1,0,1,2,3", header="method,lr,seed,loss,initial_loss,final_loss"), "mean the same"),
    ("a_slip", rows("a,0.1,0,1,2,3", header="method,lr,seed,loss,initial_loss,optimiser"), "did you mean 'optimizer'"),
    ("unknown_column", rows("a,0.1,0,1,2,3", header="method,lr,seed,loss,initial_loss,gpu"), "column 6 ('gpu')"),
    ("semicolons_and_commas", b"method;lr;seed;loss\na;0,1;0\n", "row 1 (line 2): 3 cells; required 4"),
    ("a_crash", rows("a,0.1,0,1,2,crashed", header="method,lr,seed,loss,initial_loss,outcome"), "'crashed'; required"),
    (
        "not_completed",
        rows("a,0.1,0,inf,2,completed", header="method,lr,seed,loss,initial_loss,outcome"),
        "row 1, column",
    ),
    ("accuracy", rows("a,0.1,0,1,2,93.5", header="method,lr,seed,loss,initial_loss,val_accuracy"), "from 0 to 1"),
    ("steps", rows("a,0.1,0,1,2,0", header="method,lr,seed,loss,initial_loss,num_steps"), "column 'num_steps': '0'"),
    (
        "gap",
        rows("a,0.1,0,1,2,5", "a,1,0,1,2,", header="method,lr,seed,loss,initial_loss,warmup_steps"),
        "row 2, column",
    ),
    ("knobs", rows("a,0.1,0,1,2,depth 4", header="method,lr,seed,loss,initial_loss,knobs"), "'depth 4'; required such"),
    (
        "knob_twice",
        rows('a,0.1,0,1,2,3,"weight_decay=1"', header="method,lr,seed,loss,initial_loss,weight_decay,knobs"),
        "'weight_decay' there or in a column of its own",
    ),
    ("latin_1", "method,lr\nmé,0.1\n".encode("latin-1"), "line 2: not UTF-8; looks like Latin-1; `iconv -f"),
    ("zeros", b"method,lr\na,\x00\n", "line 2: a NUL byte"),
    ("spreadsheet", b"PK\x03\x04\xff\xfe\x00", "damaged, can't be unpacked from ZIP"),
    ("pickle", b"\x80\x04\x95\x10\x00\x00\x00", "a pickle, which is never read"),
    ("half_a_parquet", parquet()[:200], "damaged, can't be read as Parquet"),
    ("no_rows.parquet", parquet(**{name: [] for name in ("method", "lr", "seed", "loss", "initial_loss")}), "0 rows"),
    ("lists.parquet", parquet(lr=[[0.1]]), "column 2 ('lr') holds"),
    ("negative.parquet", parquet(lr=[-0.1]), "row 1, column 'lr': '-0.1'"),
    ("missing.parquet", parquet(lr=[None]), "row 1, column 'lr': empty"),
    ("truths.parquet", parquet(seed=[True]), "row 1, column 'seed': 'True'"),
]


@pytest.mark.parametrize(("name", "content", "fragment"), DAMAGED, ids=[name for name, _, _ in DAMAGED])
def test_a_damaged_file_is_one_line_and_nothing_is_stored(bench, tmp_path, name, content, fragment):
    file = tmp_path / (name if "." in name else f"{name}.csv")
    file.write_bytes(content)
    code, printed, said = bench("import", file.name, "--store", "store")
    assert (code, printed) == (2, "")
    assert said.startswith(f"{file.name}: ")
    assert fragment in said
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert not (tmp_path / "store").exists()


def test_a_file_of_gigabytes_is_not_read(bench, tmp_path):
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(3 * 10**9)  # takes no room on the disk, and reading it would take seconds
    code, _, said = bench("import", "huge.csv")
    assert code == 2
    assert said == "huge.csv: 3,000 MB; required at most 67 MB: a row a run, not a step\n"


def test_a_pipe_is_not_read(bench, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    assert bench("import", "pipe.csv")[::2] == (
        2,
        "pipe.csv: required a CSV or Parquet file, a row a run, got a device\n",
    )


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("nowhere.csv",), "nowhere.csv: no such file"),
        (("good.csv", "--initial-loss", "3"), "column 'initial_loss' is there already"),
        (("bare.csv", "--initial-loss", "nan"), "--initial-loss must be a finite number"),
        (("good.csv", "--suite", "../up"), "../up: no such suite file"),
        (("good.csv", "--suite", "a b"), "--suite 'a b': required a suite file, or a name of letters"),
        (
            ("good.csv", "--suite", "quickstart", "--workload", "w"),
            "row 1, column 'workload': 'w'; required a workload",
        ),
        (("good.csv", "--suite", "edges_table1"), "suite 'edges_table1' searches"),
        (("good.csv", "--suite", "quickstart", "--out", "out"), "--out is for imports alone"),
        (("good.csv", "--ignore", "gpu"), "no column 'gpu' to ignore"),
        (("good.csv", "--setting", "gpu"), "no column 'gpu' to keep as a setting"),
        (("good.csv", "--setting", "lr"), "column 'lr' is known as it is"),
        (("good.csv", "--score", "lr_sensitivty"), "did you mean 'lr_sensitivity'"),
        (("good.csv", "--loss", "validation"), "no trial of 'unknown' has a held-out loss"),
    ],
)
def test_a_wrong_option_is_one_line_and_nothing_is_stored(bench, tmp_path, words, fragment):
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "bare.csv").write_text("method,lr,seed,loss\na,0.1,0,1\n")
    code, printed, said = bench("import", *words, "--store", "store")
    assert (code, printed) == (2, "")
    assert fragment in said
    assert said.count("\n") == 1
    assert not (tmp_path / "store").exists()


def perturbed(folder: Path) -> Path:
    """Table 1 as it was, but for relu_kernel: worse by half and a little more for each seed, save at its best lr."""
    curves = pl.read_csv(COMMITTED / "paper_table1/curves.csv")
    is_changed = (pl.col("method") == "relu_kernel") & pl.col("final_loss").is_finite() & (pl.col("lr") != 0.01)
    loss = pl.col("final_loss") * (1.5 + pl.col("seed") / 50)
    folder.mkdir()
    changed = curves.with_columns(final_loss=pl.when(is_changed).then(loss).otherwise(pl.col("final_loss")))
    changed.write_csv(folder / "curves.csv")
    manifest = json.loads((COMMITTED / "paper_table1/manifest.json").read_text())
    manifest["packages"]["torch"] = "2.13.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_diff_of_a_folder_with_itself_finds_nothing(bench):
    folder = COMMITTED / "paper_table1"
    code, printed, said = bench("diff", folder, folder, "--fail-on-change")
    assert code == 0
    assert printed.count(" identical ") == 8
    assert "760 trials in both: 760 end the same" in said
    entries = json.loads(bench("diff", folder, folder, "--format", "json")[1])["entries"]
    unranked = [entry["method"] for entry in entries if entry["rank_a"] is None or entry["rank_b"] is None]
    assert unranked == ["softmax_control"]


def test_diff_finds_the_method_that_moved(bench, tmp_path):
    words = ("diff", COMMITTED / "paper_table1", perturbed(tmp_path / "changed"))
    code, printed, _ = bench(*words, "--format", "json")
    found = json.loads(printed)
    verdicts = {entry["method"]: entry["verdict"] for entry in found["entries"]}
    assert verdicts.pop("relu_kernel") == "higher"
    assert set(verdicts.values()) == {"identical"}
    assert found["manifests"] == [{"field": "packages.torch", "a": "2.11.0", "b": "2.13.0"}]
    assert code == 0
    code, printed, _ = bench(*words, "--format", "csv", "--fail-on-change")
    assert code == 3
    rows_of_csv = pl.read_csv(printed.encode())
    assert rows_of_csv["difference"].to_list() == [entry["difference"] for entry in found["entries"]]


def test_diff_of_two_committed_suites_compares_what_they_share(bench):
    code, printed, said = bench("diff", COMMITTED / "paper_table1", COMMITTED / "optimizer_matrix")
    assert code == 0
    assert "in one alone, 10 of 57" in printed
    assert re.search(r"suite\.workloads\.in_context_regression\.num_steps +10000", printed)
    assert "workload in_context_regression of A is compared with in_context_regression(num_steps=1000) of B" in said
    assert "7 entries in both" in said


@pytest.mark.parametrize(
    ("a", "b", "fragment"),
    [
        ("good.csv", "nowhere.csv", "nowhere.csv: no such file"),
        ("good.csv", "empty", "empty: no curves.csv in this folder"),
        ("good.csv", "damaged", "manifest.json: can't be read as JSON"),
        ("good.csv", "listed", "manifest.json: required a JSON object"),
        ("broken.csv", "good.csv", "broken.csv: row 1, column 'lr'"),
        ("good.csv", "wrong.yaml", "wrong.yaml: no such suite file"),
    ],
)
def test_diff_of_what_is_no_side_is_one_line(bench, tmp_path, a, b, fragment):
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "broken.csv").write_text(GOOD.replace("0.1", "x"))
    for name, text in {"damaged": "{", "listed": "[]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "curves.csv").write_text(GOOD)
        (tmp_path / name / "manifest.json").write_text(text)
    (tmp_path / "empty").mkdir()
    code, printed, said = bench("diff", a, b)
    assert (code, printed) == (2, "")
    assert fragment in said
    assert said.count("\n") == 1


def test_diff_of_two_workloads_of_one_file(bench, tmp_path):
    runs = [f"{w},a,{lr},{s},{lr + s / 10 + (w == 'v')},4" for w in "vw" for lr in (1.0, 2.0) for s in (0, 1)]
    (tmp_path / "runs.csv").write_text("\n".join(["workload,method,lr,seed,loss,initial_loss", *runs]) + "\n")
    code, printed, _ = bench("diff", "runs.csv", "runs.csv", "--workloads", "v", "w", "--format", "json")
    (entry,) = json.loads(printed)["entries"]
    assert (code, entry["workload"], entry["score_a"]) == (0, "v against w", pytest.approx(0.5))
    assert math.isclose(entry["difference"], 0.0, abs_tol=1e-12)
    assert "did you mean" not in bench("diff", "runs.csv", "runs.csv", "--workloads", "v", "xyz")[2]


@pytest.fixture(scope="module")
def imported_home(tmp_path_factory) -> Path:
    """A folder with theirs.csv, and a store that it was imported into."""
    from bench.imports.tidy_file import read_tidy
    from bench.results.imports import import_runs

    folder = tmp_path_factory.mktemp("imported")
    runs = [f"{m},{lr},{s},{lr + s / 10 + (m == 'mega')},4" for m in ("softmax", "mega") for lr in (1.0, 2.0)
            for s in (0, 1)]  # fmt: skip
    (folder / "theirs.csv").write_text("\n".join(["method,lr,seed,loss,initial_loss", *runs]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        import_runs(read_tidy(folder / "theirs.csv"), Store(folder / "store", warn=pytest.fail), beside=None)
    return folder


@pytest.fixture
def imported(imported_home, tmp_path) -> None:
    shutil.copytree(imported_home / "store", tmp_path / "store")


def test_the_name_of_an_import_is_read_by_the_commands_that_read_suites(bench, imported):
    code, printed, said = bench("leaderboard", "theirs", "--store", "store", "--format", "csv")
    board = pl.read_csv(printed.encode())
    assert (code, said) == (0, "")
    assert dict(board.select("method", "lr_sensitivity").iter_rows()) == pytest.approx({"softmax": 0.5, "mega": 0.5})
    assert board["flags"].str.ends_with("imported").all()
    assert bench("import", "theirs", "--store", "store", "--format", "csv")[1] == printed
    code, printed, _ = bench("scores", "theirs", "--store", "store", "--format", "json")
    values = {row["method"]: row["value"] for row in json.loads(printed) if row["score"] == "best_loss"}
    assert (code, values) == (0, pytest.approx({"softmax": 1.05, "mega": 2.05}))
    code, printed, _ = bench("scores", "theirs", "--store", "store", "--differences", "best_loss", "--format", "json")
    assert (code, json.loads(printed)[0]["difference"]) == (0, pytest.approx(1.0))
    code, printed, said = bench("verify", "theirs", "--store", "store")
    assert (code, printed) == (0, "")
    assert said.startswith("8 of 8 trials have a result; checked 8 runs")


@pytest.mark.slow
def test_the_report_of_an_import_is_its_own(bench, imported):
    code, printed, _ = bench("report", "theirs", "--store", "store", "--out", "out")
    assert (code, printed) == (0, "out/index.html\n")
    assert "theirs (imported)" in Path("out/index.html").read_text()
    code, _, said = bench("report", "theirs", "--store", "store", "--out", "beside", "--compare", "nobody")
    assert (code, said.count("\n")) == (2, 1)
    assert "unknown reference 'nobody'" in said


@pytest.mark.slow
def test_the_paper_bundle_of_an_import_compiles_and_says_whose_runs_it_holds(bench, imported):
    code, printed, said = bench("export", "theirs", "--bundle", "paper", "--store", "store")
    assert (code, printed) == (0, "paper/main.tex\n"), said
    written = {path.relative_to("paper").as_posix() for path in Path("paper").rglob("*") if path.is_file()}
    assert {"tables/leaderboard.tex", "figures/loss_against_lr.pdf", "numbers.csv"} <= written
    assert not any("training_behaviour" in name for name in written)
    methods = Path("paper/methods.md").read_text()
    assert methods.startswith("We imported 8 runs that others trained, of mega, softmax [@vaswani2017attention]; ")
    assert "They are from the file theirs.csv (SHA-256 " in methods
    assert "@inproceedings{vaswani2017attention," in Path("paper/references.bib").read_text()
    assert json.loads(Path("paper/manifest.json").read_text())["imports"]["theirs"]["num_runs"] == 8
    numbers = pl.read_csv("paper/numbers.csv")
    assert sorted(numbers.filter(method="mega")["final_loss"]) == pytest.approx([2.0, 2.1, 3.0, 3.1])
    assert "    bench export theirs --bundle DIR --score lr_sensitivity " in Path("paper/README.txt").read_text()
    shutil.copytree("paper", "compiled")
    assert complaints(compiled(Path("compiled"))) == []
    assert bench("export", "theirs", "--bundle", "paper", "--store", "store")[0] == 0  # in the place of the first


def test_a_bundle_of_an_import_is_refused_in_one_line(bench, imported):
    Path("mine").mkdir()
    Path("mine/notes.md").write_text("mine")
    for words, fragment in [
        (("--bundle", "mine"), "mine: holds 'notes.md', which is no earlier bundle"),
        (("--bundle", "new", "--compare", "papr"), "did you mean 'paper'"),
        (("--bundle", "new", "--score", "lr_sens"), "unknown score 'lr_sens'"),
        (("--bundle", "new", "--loss", "validation"), "has a held-out loss"),
    ]:
        code, printed, said = bench("export", "theirs", "--store", "store", *words)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert fragment in said
    assert not Path("new").exists()


def test_the_links_to_an_import_are_those_of_its_experiment(bench, imported, monkeypatch):
    def end(path: str, command: list[str], environment: dict[str, str]) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", end)  # by MLflow's server
    code, printed, _ = bench("ui", "theirs", "--store", "store")
    store = Store(Path("store"), warn=pytest.fail)
    base = "http://127.0.0.1:5000"
    titles = ("leaderboard", "trials as charts", "trials as a table")
    links = [f"{title}: {view_link(store, 'theirs', base, view)}" for title, view in zip(titles, VIEWS, strict=True)]
    expected = [*links, f"page: {suite_link(store, 'theirs', base)}"]
    assert (code, printed.splitlines()) == (0, [f"theirs, {line}" for line in expected])
    assert bench("ui", "--store", "store")[1] == printed


def test_a_name_that_is_neither_suite_nor_import_is_one_line_with_what_there_is(bench, imported):
    for command in ("leaderboard", "report", "scores", "verify", "ui", "export"):
        more = ("--bundle", "paper") if command == "export" else ()
        code, printed, said = bench(command, "thiers", "--store", "store", *more)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert said.startswith("thiers: no such suite file; shipped suites: ")
        assert said.endswith("mlflow.db: theirs\n")
    for name, store in (("theirs", "nowhere"), ("./theirs", "store"), ("theirs.yaml", "store")):
        code, printed, said = bench("leaderboard", name, "--store", store)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert "no such suite file" in said
        assert "imported into" not in said


def test_a_shipped_suite_and_a_file_come_before_an_import_of_their_name(bench, imported, tmp_path):
    (tmp_path / "theirs").write_text("name: mine\n")
    code, _, said = bench("leaderboard", "theirs", "--store", "store")
    assert code == 2
    assert said.startswith("theirs:")
    assert "workloads" in said
    (tmp_path / "theirs").unlink()
    (tmp_path / "theirs").mkdir()
    assert bench("leaderboard", "theirs", "--store", "store")[0] == 0


def test_an_import_is_removed_by_its_name_once(bench, imported):
    assert bench("import", "--remove", "theirs", "--store", "store") == (
        0, "", "import theirs: 8 runs removed, to be found in MLflow's trash until `mlflow gc`\n",
    )  # fmt: skip
    code, printed, said = bench("import", "--remove", "theirs", "--store", "store")
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert said.endswith("nothing was imported as 'theirs'\n")
    assert bench("leaderboard", "theirs", "--store", "store")[0] == 2


def test_nothing_is_removed_from_a_store_that_there_is_not(bench, tmp_path):
    code, printed, said = bench("import", "--remove", "theirs", "--store", "nowhere")
    assert (code, printed, said.count("\n")) == (4, "", 1)
    assert "no results yet" in said
    assert not (tmp_path / "nowhere").exists()
