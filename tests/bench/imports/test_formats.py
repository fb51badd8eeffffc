"""Files of others are read as what they are: finished runs alone, with what was left out in words."""

import json
import math
from pathlib import Path

import polars as pl
import pytest

from analysis.scores.leaderboard import leaderboard
from bench.errors import UsageError
from bench.imports.formats import FORMATS, as_tidy, format_of
from bench.imports.runs import ABSENT, Reading, imported_runs, plain_reading
from bench.imports.tidy_file import TidyFile, read_tidy
from bench.imports.wishes import Wishes, names_of, pairs_of
from tests.bench.imports import files_of_others as files

HEADER = "method,lr,seed,final_loss,initial_loss"


def tidy(folder: Path, text: str, name: str = "runs.csv", **wishes) -> TidyFile:
    (folder / name).write_text(text)
    return as_tidy(read_tidy(folder / name), Wishes(**wishes))


def board_of(file: TidyFile, initial_loss: float | None = None) -> dict[str, dict]:
    """The leaderboard's rows by method."""
    reading = Reading(name="theirs", initial_loss=initial_loss, absent=ABSENT, label=str)
    board = leaderboard(imported_runs(file, reading).frame)
    return {row["method"]: row for row in board.iter_rows(named=True)}


def check(row: dict, score: float, interval: tuple | None, best: float, best_lr: float, num_trials: int, diverged: int):
    assert row["lr_sensitivity"] == pytest.approx(score, abs=5e-5)
    expected = (None, None) if interval is None else pytest.approx(tuple(max(end, 0.0) for end in interval), abs=5e-5)
    assert (row["ci_low"], row["ci_high"]) == expected
    assert (row["best_loss"], row["best_lr"], row["num_trials"]) == (pytest.approx(best, abs=5e-5), best_lr, num_trials)
    assert row["diverged_share"] * num_trials == pytest.approx(diverged)


def test_a_runs_table_of_weights_and_biases(tmp_path):
    file = tidy(tmp_path, files.wandb_runs())
    board = board_of(file, 4.16)
    assert file.cells.height == 22
    check(board["relu_kernel"], 0.2205, (0.0650, 0.3760), 2.0211, 0.003, 11, 0)
    check(board["softmax"], 0.7600, (-0.1583, 1.6782), 1.8360, 0.003, 11, 1)
    assert all("incomplete" in row["flags"] for row in board.values())
    said = "\n".join(file.notes)
    assert "left out, lost and no results: 2 crashed, 1 failed, 1 running" in said
    assert "relu_kernel, lr 0.0003, seed 0" in said
    assert "lr 0.001, seed 2" not in said  # it crashed, and was repeated
    assert "2 empty (eval/perplexity, val/accuracy)" in said


def test_runs_that_mlflow_found(tmp_path):
    file = tidy(tmp_path, files.mlflow_runs())
    board = board_of(file)
    assert file.cells.height == 13
    check(board["qk_norm"], 0.2580, (-1.0582, 1.5742), 1.8337, 0.003, 6, 0)
    check(board["softmax"], 0.8274, (-2.6388, 4.2936), 1.7907, 0.003, 7, 1)
    said = "\n".join(file.notes)
    assert "1 FAILED, 1 RUNNING" in said
    assert "1 finished without a final loss (method softmax, lr 0.01, seed 0): NaN or never logged" in said
    asked = board_of(tidy(tmp_path, files.mlflow_runs(), without_loss="diverged"))
    check(asked["softmax"], 0.8274, (0.6261, 1.0286), 1.7907, 0.003, 8, 2)


def test_a_chart_of_weights_and_biases_needs_what_names_of_runs_say(tmp_path):
    with pytest.raises(UsageError, match=r"a chart export .* a column for each of 6 runs; required .*--run-names"):
        tidy(tmp_path, files.wandb_chart())
    file = tidy(tmp_path, files.wandb_chart(), run_names="{method}-lr{lr}-s{seed}")
    board = board_of(file)
    check(board["softmax"], 0.8283, None, 1.8705, 0.003, 3, 1)
    check(board["relu_kernel"], 0.1208, None, 2.0776, 0.003, 2, 0)
    said = "\n".join(file.notes)
    assert "cut short and lost: 1 (method relu_kernel, lr 0.01, seed 0: ends at step 550 of 950)" in said
    assert "its 12 columns of steps, __MIN and __MAX are no runs" in said
    for pattern in ("softmax", "{method}-{gpu}", "{lr}{lr}", "{lr}-{seed}"):
        with pytest.raises(UsageError, match="--run-names"):
            tidy(tmp_path, files.wandb_chart(), run_names=pattern)


def test_a_row_a_checkpoint(tmp_path):
    file = tidy(tmp_path, files.LONG_CHECKPOINTS)
    board = board_of(file)
    assert file.cells.height == 11
    check(board["softmax"], 0.8714, (0.8699, 0.8728), 1.7961, 0.003, 6, 2)
    check(board["window"], 0.1255, (0.1030, 0.1481), 1.8910, 0.01, 5, 0)
    assert sorted(file.cells["diverged_step"].drop_nulls()) == ["1000", "500"]
    said = "\n".join(file.notes)
    assert "34 rows of 12 runs" in said
    assert "cut short and lost: 1 (method window, lr 0.01, seed 1: ends at step 500 of 1000)" in said


def test_what_is_measured_at_a_checkpoint_tells_no_runs_apart(tmp_path):
    rows = [f"a,{lr},0,{step},{4 - step / 1000 - lr},{step * lr}" for lr in (0.1, 0.2) for step in (0, 500, 1000)]
    file = tidy(tmp_path, "\n".join(["method,lr,seed,step,loss,grad_norm", *rows]) + "\n")
    assert file.cells.select("lr", "final_loss", "initial_loss").rows() == [
        ("0.1", "2.9", "3.9"),
        ("0.2", "2.8", "3.8"),
    ]
    assert "columns left out: 1 that tell no runs apart (grad_norm)" in file.notes
    with pytest.raises(UsageError, match=r"two checkpoints of method a, lr 0\.1, seed 0 at one step"):
        tidy(tmp_path, "method,lr,seed,step,loss\na,0.1,0,5,1\na,0.1,0,5,1\n")
    with pytest.raises(UsageError, match="row 1, column 'step': required a number"):
        tidy(tmp_path, "method,lr,seed,step,loss\na,0.1,0,last,1\n")


def test_an_index_of_pandas_is_left_out_and_said(tmp_path):
    file = tidy(tmp_path, files.PANDAS_INDEX)
    board = board_of(file)
    check(board["soft_capping"], 0.3493, (0.3330, 0.3657), 1.2539, 0.01, 9, 0)
    check(board["softmax"], 0.6997, (0.6885, 0.7110), 1.1969, 0.01, 9, 0)
    assert [board[name]["rank"] for name in ("soft_capping", "softmax")] == [1, 2]
    assert [board[name]["stable_decades"] for name in ("soft_capping", "softmax")] == pytest.approx([2.0, 1.5])
    assert file.notes == ("column 1 has no name and counts rows: left out as an index",)
    with pytest.raises(UsageError, match="column 1 has no name; required one in the header"):
        tidy(tmp_path, files.PANDAS_INDEX.replace("\n3,", "\n7,"))  # numbers two rows alike


def test_all_unknown_columns_are_named_at_once_with_options_that_read_them(tmp_path):
    with pytest.raises(UsageError) as raised:
        board_of(tidy(tmp_path, files.RENAMED))
    said = str(raised.value)
    for place, name in ((1, "attention"), (3, "random_seed"), (5, "grad_norm"), (8, "note")):
        assert f"column {place} ({name!r})" in said
    assert "--map method=attention,seed=random_seed,final_loss=eval_loss" in said
    assert "--ignore grad_norm,tokens_seen,gpu,note --initial-loss X" in said
    columns = pairs_of(["method=attention,seed=random_seed", "final_loss=eval_loss"], "--map")
    file = tidy(tmp_path, files.RENAMED, columns=columns, ignored=names_of(["grad_norm,tokens_seen", "gpu,note"]))
    with pytest.raises(UsageError, match=r"no column 'initial_loss' \(`bench import` takes --initial-loss X"):
        board_of(file)
    board = board_of(file, 5.5)
    check(board["capped"], 0.2839, (0.2683, 0.2995), 2.3507, 0.001, 9, 0)
    check(board["vanilla"], 0.4127, (0.3823, 0.4431), 2.3035, 0.001, 9, 0)


def test_a_method_that_all_runs_share_is_asked_for_where_its_column_was_left_out(tmp_path):
    """Under a name that is not known a column that never changes tells no runs apart; it may be what lacks."""
    header = '"Name","State","Created","_runtime","seed","optimizer.lr","attn.kind","train/loss"'
    runs = [f'"r{lr}","finished","2026-11-30","9","0","{lr}","softmax","{1 + lr}"' for lr in (0.01, 0.1)]
    text = "\n".join([header, *runs]) + "\n"
    with pytest.raises(UsageError) as raised:
        board_of(tidy(tmp_path, text), 4.0)
    said = str(raised.value)
    assert "takes --map method=COLUMN of the file, or --set method=VALUE for all runs" in said
    assert "attn.kind" in said.partition("; columns left out: ")[2]
    assert board_of(tidy(tmp_path, text, columns={"method": "attn.kind"}), 4.0)["softmax"]["num_trials"] == 2


def test_a_column_that_the_file_lacks_is_set_for_all_runs(tmp_path):
    file = tidy(tmp_path, "lr,loss\n0.1,1\n0.2,2\n", constants={"method": "softmax", "seed": "0", "initial_loss": "3"})
    assert board_of(file)["softmax"]["num_trials"] == 2


@pytest.mark.parametrize(
    ("wishes", "fragment"),
    [
        ({"columns": {"val_loss": "rate"}}, "no column 'rate' to read as 'val_loss'"),
        ({"columns": {"method": "lr"}}, "column 'method' is there already"),
        ({"columns": {"gpu": "lr"}}, "--map gpu=...: required one of"),
        ({"constants": {"lr": "1"}}, "column 'lr' is there already"),
        ({"columns": {"val_loss": "seed"}, "ignored": ["seed"]}, "both read as 'val_loss' and ignored"),
        ({"ignored": ["gpu"]}, "no column 'gpu' to ignore"),
    ],
)
def test_what_is_asked_of_columns_is_checked(tmp_path, wishes, fragment):
    with pytest.raises(UsageError, match=fragment.replace(".", r"\.")):
        tidy(tmp_path, f"{HEADER}\na,0.1,0,1,2\n", **wishes)


@pytest.mark.parametrize("text", ["lr", "lr=", "=rate", "lr=a,lr=b"])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(UsageError, match="--map"):
        pairs_of([text], "--map")


def test_trials_of_optuna(tmp_path):
    text = files.OPTUNA_TRIALS
    constants = {"method": "softmax", "initial_loss": "3"}
    file = tidy(tmp_path, text, constants=constants)
    assert board_of(file)["softmax"]["num_trials"] == 2
    assert any("1 PRUNED" in note for note in file.notes)
    assert any("1 finished without a final loss" in note and "whose value is NaN" in note for note in file.notes)
    asked = board_of(tidy(tmp_path, text, constants=constants, without_loss="diverged"))["softmax"]
    assert (asked["num_trials"], asked["diverged_share"]) == (3, pytest.approx(1 / 3))


def test_results_of_ray_tune_as_json_lines(tmp_path):
    rows = [
        {"loss": loss, "training_iteration": 9, "trial_id": str(lr), "pid": 7, "done": True, "accuracy": 0.1 + lr,
         "config": {"lr": lr, "seed": 0, "method": "softmax", "model": {"depth": 4}}}
        for lr, loss in ((0.1, 1.5), (0.2, 1.25), (0.4, math.nan))
    ]  # fmt: skip
    file = tidy(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "result.json")
    board = board_of(file, 3.0)
    assert (board["softmax"]["num_trials"], board["softmax"]["best_loss"]) == (3, 1.25)
    assert board["softmax"]["diverged_share"] == pytest.approx(1 / 3)
    assert any("model/depth" in note for note in file.notes)


def test_json_lines_of_the_tidy_form_say_what_csv_says(tmp_path):
    rows = [{"method": "a", "lr": lr, "seed": 0, "loss": 1 + lr, "initial_loss": 3} for lr in (0.1, 0.2)]
    lines = tidy(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "runs.jsonl")
    listed = tidy(tmp_path, json.dumps(rows), "runs.json")
    pl.DataFrame(rows).write_csv(tmp_path / "same.csv")
    assert lines.cells.equals(as_tidy(read_tidy(tmp_path / "same.csv"), Wishes()).cells)
    assert listed.cells.equals(lines.cells)
    for text in ('{"a": 1\n', "[1, 2]", '{"a": ["x"]}\n', "[]"):
        with pytest.raises(UsageError):
            tidy(tmp_path, text, "wrong.json")


def test_every_format_recognises_its_own_file_first(tmp_path):
    assert list(files.EXAMPLES) == list(FORMATS)
    for name, (text, wishes) in files.EXAMPLES.items():
        (tmp_path / "file").write_text(text)
        file = read_tidy(tmp_path / "file")
        assert format_of(file.cells) == name
        assert as_tidy(file, Wishes(**wishes)).cells.height > 0


def test_runs_of_wandbs_api_are_read_from_the_objects_in_their_cells(tmp_path):
    """config and summary as Python prints them, with nan and an object in an object; a crashed run is left out."""
    file = tidy(tmp_path, files.WANDB_API)
    assert file.cells.sort("lr").select("method", "lr", "seed", "final_loss").rows() == [
        ("softmax", "0.001", "0", "2.0"),
        ("softmax", "0.003", "0", "1.85"),
        ("softmax", "0.01", "0", "nan"),
    ]
    assert any("lost and no results: 1 crashed" in note for note in file.notes)
    board = board_of(file, 4.0)
    assert (board["softmax"]["num_trials"], board["softmax"]["best_loss"]) == (3, 1.85)


@pytest.mark.parametrize(
    "cell", ["{'a': __import__('os')}", "{'a': 1}.keys()", "{**{}}", "{'a'", "{'a': 1a}", "{" * 5000 + "}" * 5000]
)
def test_cells_that_are_no_plain_objects_stay_text(tmp_path, cell):
    pl.DataFrame({"method": ["a"], "summary": [cell]}).write_csv(tmp_path / "file")
    assert read_tidy(tmp_path / "file").cells["summary"].to_list() == [cell]


@pytest.mark.parametrize("separator", ["\t", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_spreadsheets_separate_cells_otherwise(tmp_path, separator, encoding):
    """Tabs, or semicolons with decimal commas; a header with commas in quotes is no sign of commas."""
    text = 'method,lr,seed,loss,"loss, at init"\nsoft max,0.1,0,1.5,3\nrelu,1e-3,0,2.25e0,-3\n'
    (tmp_path / "plain.csv").write_text(text)
    decimal = "," if separator == ";" else "."
    head, *rows = text.splitlines()
    lines = [head.replace(",", separator).replace(f'"loss{separator} at', '"loss, at')]
    lines += [row.replace(",", separator).replace(".", decimal) for row in rows]
    (tmp_path / "file.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
    file = read_tidy(tmp_path / "file.csv")
    assert file.cells.equals(read_tidy(tmp_path / "plain.csv").cells)
    word = {"\t": "tabs", ";": "semicolons"}[separator]
    assert f"cells are separated by {word}" in file.notes
    assert ("numbers with a decimal comma: 3" in file.notes) == (separator == ";")


def test_indices_that_pandas_read_back_count_rows_and_are_left_out(tmp_path):
    text = "Unnamed: 0.1,Unnamed: 0,method,rank\n0,0,a,0\n1,1,b,1\n"
    (tmp_path / "file").write_text(text)
    file = read_tidy(tmp_path / "file")
    assert file.cells.columns == ["method", "rank"]
    assert len(file.notes) == 2
    (tmp_path / "file").write_text(text.replace("1,1,b", "1,7,b"))
    assert read_tidy(tmp_path / "file").cells.columns == ["Unnamed: 0", "method", "rank"]


def test_settings_within_names_are_proposed_for_ours(tmp_path):
    (tmp_path / "runs.csv").write_text("method,config/lr,hparams.seed,loss,grads/lr\na,0.1,0,1,5\n")
    file = as_tidy(read_tidy(tmp_path / "runs.csv"), Wishes())
    with pytest.raises(UsageError, match=r"takes --map lr=config/lr,seed=hparams.seed --ignore grads/lr"):
        imported_runs(file, plain_reading("runs"))


def test_checkpoints_that_nothing_tells_apart_name_the_columns_that_may(tmp_path):
    (tmp_path / "runs.csv").write_text("model,lr,epoch,loss\na,0.1,0,1\nb,0.1,0,2\n")
    with pytest.raises(UsageError, match="--map method=COLUMN or --setting COLUMN, one of model"):
        as_tidy(read_tidy(tmp_path / "runs.csv"), Wishes())
