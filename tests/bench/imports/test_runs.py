"""Other people's runs: what a file says is what is scored, and what it does not say is told."""

import math
from pathlib import Path

import polars as pl
import pytest

from analysis.scores.leaderboard import leaderboard
from analysis.subject import mark_imported
from bench.errors import UsageError
from bench.imports.cells import NUMBERS
from bench.imports.runs import (
    ABSENT,
    Reading,
    imported_runs,
    named_apart,
    plain_reading,
)
from bench.imports.tidy_file import read_tidy
from bench.outcome import RESULT_COLUMNS, Result
from bench.results.controls import controls_named
from tests.analysis.synthetic_results import frame, row

COMMITTED = Path(__file__).parents[3] / "suites/results"
HEADER = "method,lr,seed,loss,initial_loss"


def read_runs(folder: Path, text: str, **reading):
    path = folder / "runs.csv"
    path.write_text(text, encoding="utf-8")
    fields = {"name": "runs", "absent": ABSENT, "label": str, **reading}
    return imported_runs(read_tidy(path), Reading(**fields))


@pytest.mark.parametrize("name", ["paper_table1", "lm_lr_warmup"])
def test_our_own_curves_come_back_with_the_committed_scores(name):
    file = read_tidy(COMMITTED / name / "curves.csv")
    frame = imported_runs(file, plain_reading(name)).frame
    board = leaderboard(frame, controls=controls_named(frame))
    ours = pl.read_csv(COMMITTED / name / "leaderboard.csv").with_columns(pl.col("knobs").fill_null(""))
    ours = ours.with_columns(pl.col("ci_low").clip(lower_bound=0.0))  # older than intervals that keep to the domain
    entry = ["workload", "method", "optimizer", "knobs"]
    assert board.select(entry).rows() == ours.select(entry).rows()
    assert board["rank"].to_list() == ours["rank"].to_list()
    for column in ("lr_sensitivity", "ci_low", "ci_high", "best_loss", "best_lr", "stable_decades", "diverged_share"):
        assert board[column].to_list() == pytest.approx(ours[column].to_list(), rel=1e-12, abs=1e-12)


def test_parquet_and_csv_say_the_same(tmp_path):
    rows = {"method": ["a", "b"], "lr": [1e-3, 0.1], "seed": [0, 1], "loss": [1 / 3, math.inf], "initial_loss": [2, 2]}
    table = pl.DataFrame(rows)
    table.write_csv(tmp_path / "runs.csv")
    table.write_parquet(tmp_path / "runs.parquet")
    read = [imported_runs(read_tidy(tmp_path / f"runs.{kind}"), plain_reading("runs")) for kind in ("csv", "parquet")]
    assert read[0] == read[1]
    assert [result.final_loss for result in read[0].results] == [1 / 3, math.inf]


def test_a_learning_rate_kept_in_32_bits_is_that_of_the_grid(tmp_path):
    rows = {"method": ["a"], "lr": [1e-3], "seed": [0], "loss": [1.5], "initial_loss": [2.0]}
    pl.DataFrame(rows, schema_overrides={"lr": pl.Float32, "loss": pl.Float32}).write_parquet(tmp_path / "runs.parquet")
    found = imported_runs(read_tidy(tmp_path / "runs.parquet"), plain_reading("runs")).frame
    assert found.select("lr", "final_loss").row(0) == (1e-3, 1.5)


def test_a_run_diverged_if_it_says_so_or_its_loss_is_not_finite(tmp_path):
    text = f"{HEADER},outcome,val_loss,diverged_step\na,1,0,5,2,diverged,7,12\na,1,1,nan,2,,,\na,1,2,-inf,2,,,\n"
    found = read_runs(tmp_path, f"{text}a,1,3,,2,diverged,,\na,1,4,1.25,2,completed,1.5,\na,1,5,9,2,,,\n").frame
    assert found["outcome"].to_list() == ["diverged"] * 4 + ["completed"] * 2
    assert found["final_loss"].to_list() == [math.inf] * 4 + [1.25, 9.0]
    assert found["val_loss"].to_list() == [math.inf, None, None, None, 1.5, None]
    assert found["diverged_step"].to_list() == [12, None, None, None, None, None]


def test_results_survive_the_store(tmp_path):
    text = "method,lr,seed,loss,initial_loss,depth,source\na,0.1,0,1,2,4,Someone\na,0.1,0,nan,2,deep,Someone\n"
    found = read_runs(tmp_path, text, settings=["depth"])
    assert [Result.from_dict(one.to_dict()).row() for one in found.results] == found.frame.to_dicts()
    assert found.frame["settings"].to_list() == ['{"depth":4}', '{"depth":"deep"}']
    assert found.frame.schema == {name: getattr(pl, kind) for name, kind in RESULT_COLUMNS.items()}
    assert found.sources == ("Someone",)


def test_what_is_not_said_is_told(tmp_path):
    found = read_runs(tmp_path, f"{HEADER},optimizer,warmup_steps\na,0.1,0,1,2,lion,10\n", workload="theirs")
    assert found.assumed == {
        "schedule": "unknown",
        "weight_decay": 0.0,
        "grad_clip": math.inf,
        "init_scale": 1.0,
        "num_steps": None,
    }
    row_found = found.frame.row(0, named=True)
    assert (row_found["workload"], row_found["optimizer"], row_found["warmup_steps"]) == ("theirs", "lion", 10.0)
    assert row_found["num_steps"] is None


def test_one_initial_loss_for_all(tmp_path):
    found = read_runs(tmp_path, "method,lr,seed,loss\na,0.1,0,1\na,0.2,0,1\n", initial_loss=3.5)
    assert found.frame["initial_loss"].to_list() == [3.5, 3.5]


def test_ids_tell_imports_methods_and_settings_apart_but_not_labels(tmp_path):
    text = f"{HEADER},depth\na,0.1,0,1,2,4\nb,0.1,0,1,2,4\na,0.1,0,1,2,5\n"
    ids = read_runs(tmp_path, text, settings=["depth"]).frame["trial_id"].to_list()
    assert len(set(ids)) == 3
    assert read_runs(tmp_path, text, settings=["depth"], label="x{}".format).frame["trial_id"].to_list() == ids
    assert set(read_runs(tmp_path, text, settings=["depth"], name="other").frame["trial_id"]).isdisjoint(ids)


def test_knobs_as_our_curves_write_them(tmp_path):
    knobs = ["warmup_steps=100, weight_decay=0.1", "warmup_steps=10.0, betas=[0.9, 0.95], norm=rms", ""]
    rows = [f'a,0.1,0,{1 + place},2,"{text}"' for place, text in enumerate(knobs)]
    found = read_runs(tmp_path, "\n".join([f"{HEADER},knobs", *rows]) + "\n").frame
    assert found["warmup_steps"].to_list() == [100.0, 10.0, 0.0]
    assert found["weight_decay"].to_list() == [0.1, 0.0, 0.0]
    assert found["settings"].to_list() == ["{}", '{"betas":"[0.9, 0.95]","norm":"rms"}', "{}"]


def test_every_number_a_result_has_is_checked():
    numbers = {name for name, kind in RESULT_COLUMNS.items() if kind in ("Float64", "Int64")}
    assert set(NUMBERS) == numbers


def test_a_byte_order_mark_blank_lines_and_spaces_do_no_harm(tmp_path):
    found = read_runs(tmp_path, "\ufeff method , lr,seed,loss,initial_loss\r\n\r\n a ,0.1, 0,1,2\r\n\r\n").frame
    assert found.select("method", "lr", "seed").row(0) == ("a", 0.1, 0)


def test_what_is_ignored_need_not_be_known(tmp_path):
    path = tmp_path / "runs.parquet"
    rows = {"method": ["a"], "lr": [0.1], "seed": [0], "loss": [1.0], "initial_loss": [2.0], "curve": [{"a": 1.0}]}
    pl.DataFrame(rows).write_parquet(path)
    assert len(imported_runs(read_tidy(path, ["curve"]), plain_reading("runs")).results) == 1
    file = read_tidy(path)
    assert file.cells.columns == [name for name in rows if name != "curve"]
    assert any("1 of neither numbers nor text (curve holds struct" in note for note in file.notes)
    with pytest.raises(UsageError, match="no column 'spike' to ignore"):
        read_tidy(path, ["spike"])


def test_imported_methods_are_told_from_others_of_their_name():
    rows = [row(method, 0.1, 0, 1.0, trial_id=name) for method, name in (("a", "1"), ("a", "2"), ("b", "3"))]
    rows.append(row("a", 0.1, 0, 1.0, trial_id="4", optimizer="lion"))
    found = named_apart(frame(rows), {"2": "theirs", "3": "theirs", "4": "theirs"})
    assert found["method"].to_list() == ["a", "a(imported=theirs)", "b", "a(imported=theirs)"]
    assert found.columns == list(RESULT_COLUMNS)
    two = named_apart(frame(rows), {"1": "first", "2": "second"})
    assert two["method"].to_list() == ["a(imported=first)", "a(imported=second)", "b", "a"]


def test_only_imported_entries_are_flagged():
    results = frame(
        [row(m, lr, s, 1.0 + lr + s, trial_id=f"{m}{lr}{s}") for m in "ab" for lr in (0.1, 1.0) for s in (0, 1, 2)]
    )
    board = leaderboard(results)
    marked = mark_imported(board, results, [name for name in results["trial_id"] if name.startswith("b")])
    flags = dict(zip(board["method"], board["flags"], strict=True))
    assert dict(zip(marked["method"], marked["flags"], strict=True)) == flags | {"b": f"{flags['b']},imported"}
    assert marked.drop("flags").equals(board.drop("flags"))
    alone = mark_imported(board.with_columns(flags=pl.lit("")), results, results["trial_id"].to_list())
    assert alone["flags"].to_list() == ["imported", "imported"]


def test_all_wrong_cells_are_told_at_once(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("method,lr,seed,loss,initial_loss\n,0,0,1,2\na,0.1,x,1,2\na,0.1,0,much,\n")
    with pytest.raises(UsageError) as raised:
        imported_runs(read_tidy(path), plain_reading("runs"))
    lines = str(raised.value).splitlines()
    assert [line.removeprefix(f"{path}: ").partition(";")[0] for line in lines] == [
        "row 1, column 'method': empty",
        "row 1, column 'lr': '0'",
        "row 2, column 'seed': 'x'",
        "row 3, column 'final_loss': 'much'",
        "row 3, column 'initial_loss': empty",
    ]
    path.write_text("method,lr,seed,loss,initial_loss\n" + "a,0,0,1,2\n" * 30)
    with pytest.raises(UsageError, match="column 'lr': and 27 more cells like it"):
        imported_runs(read_tidy(path), plain_reading("runs"))
