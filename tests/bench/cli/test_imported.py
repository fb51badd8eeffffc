"""The commands that read suites, on the name of an import: its board, report, bundle, links and removal."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from bench.store import VIEWS, Store, suite_link, view_link
from tests.analysis.latex_documents import compiled, complaints


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
