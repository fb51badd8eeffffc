"""`bench import` on the command line: what is wrong with a file is one line that says where."""

import io
import os
from pathlib import Path

import polars as pl
import pytest

GOOD = "method,lr,seed,loss,initial_loss\na,0.1,0,1,2\na,0.2,0,1.5,2\n"
COMMITTED = Path(__file__).parents[3] / "suites/results"


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
        (("plain_folder",), "plain_folder: a folder without event files of TensorBoard, and the name of no import"),
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
    (tmp_path / "plain_folder").mkdir()
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "bare.csv").write_text("method,lr,seed,loss\na,0.1,0,1\n")
    code, printed, said = bench("import", *words, "--store", "store")
    assert (code, printed) == (2, "")
    assert fragment in said
    assert said.count("\n") == 1
    assert not (tmp_path / "store").exists()
