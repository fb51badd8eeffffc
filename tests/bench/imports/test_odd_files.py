"""Files as spreadsheets, pandas, R and packers leave them say the same runs; what can't be told is asked."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import polars as pl
import pytest

from bench.errors import UsageError
from bench.imports.columns import MAX_BYTES
from bench.imports.formats import as_tidy
from bench.imports.runs import imported_runs, plain_reading
from bench.imports.tidy_file import TidyFile, read_tidy
from bench.imports.wishes import Wishes

RUNS = [
    {"method": method, "lr": lr, "seed": seed, "final_loss": 2.25 + lr - seed / 8, "initial_loss": 4.5}
    for method in "ab"
    for lr in (0.001, 0.1)
    for seed in (0, 1)
]
HEADER = "method,lr,seed,final_loss,initial_loss"
LINES = [",".join(map(str, run.values())) for run in RUNS]
PLAIN = "\n".join([HEADER, *LINES]) + "\n"


def with_separator(separator: str, decimal: str = ".") -> str:
    lines = [line.replace(",", "\0").replace(".", decimal) for line in PLAIN.splitlines()]
    cells = [[f'"{cell}"' if separator in cell else cell for cell in line.split("\0")] for line in lines]
    return "\n".join(separator.join(line) for line in cells) + "\n"


def by_columns(rows: list[dict]) -> dict:
    return {name: {str(place): row[name] for place, row in enumerate(rows)} for name in rows[0]}


SAME = {
    "spaces and capitals": PLAIN.replace(HEADER, "Method,Learning Rate,SEED,Final Loss,initial-loss"),
    "camels": PLAIN.replace(HEADER, "method,learningRate,seed,finalLoss,initialLoss"),
    "a remark in brackets": PLAIN.replace(HEADER, "method,lr (peak),seed,final_loss,initial_loss"),
    "Windows": PLAIN.replace("\n", "\r\n"),
    "decimal commas with tabs": with_separator("\t", ","),
    "decimal commas with semicolons": with_separator(";", ","),
    "decimal commas in quotes": with_separator(",", ","),
    "bars": with_separator("|"),
    "Excel's first line": "sep=;\n" + with_separator(";", ","),
    "comments": "# of mine\n#, all of them\n" + PLAIN,
    "rows of nothing": PLAIN + ",,,,\n\n,,,,\n",
    "a column of nothing": PLAIN.replace("\n", ",\n"),
    "cells beyond the header": PLAIN.replace("4.5\n", "4.5,\n"),
    "rows that were chosen": "\n".join([f",{HEADER}", *(f"{7 - n},{line}" for n, line in enumerate(LINES))]),
    "rows of R": "\n".join([f'"",{HEADER}', *(f'"{n + 1}",{line}' for n, line in enumerate(LINES))]),
    "an index that was reset": "\n".join([f"index,{HEADER}", *(f"{n},{line}" for n, line in enumerate(LINES))]),
    "a state": "\n".join([f"{HEADER},Status", *(f"{line},finished" for line in LINES), "a,1,0,9,4.5,crashed"]),
    "JSON by columns": json.dumps(by_columns(RUNS)),
    "JSON by index": json.dumps({str(place): row for place, row in enumerate(RUNS)}),
    "JSON split": json.dumps({"columns": [*RUNS[0]], "data": [[*row.values()] for row in RUNS], "index": [1]}),
    "JSON of a table": json.dumps({"schema": {"fields": [1]}, "data": RUNS}),
    "JSON in an object": json.dumps({"version": 2, "runs": RUNS}, indent=1),
    "gzip": gzip.compress(PLAIN.encode()),
    "two streams of gzip": gzip.compress(PLAIN[:50].encode()) + gzip.compress(PLAIN[50:].encode()),
    "bzip2": bz2.compress(PLAIN.encode()),
    "xz": lzma.compress(PLAIN.encode()),
}


def read(folder, content: str | bytes, **wishes) -> TidyFile:
    (folder / "runs").write_bytes(content if isinstance(content, bytes) else content.encode())
    return as_tidy(read_tidy(folder / "runs"), Wishes(**wishes))


def runs_of(file: TidyFile, **options) -> pl.DataFrame:
    return imported_runs(file, plain_reading("theirs")).frame.select(
        "method", "lr", "seed", "outcome", "final_loss", "initial_loss"
    )


@pytest.mark.parametrize("name", SAME)
def test_an_odd_file_says_what_the_plain_one_says(tmp_path, name):
    expected = pl.DataFrame(RUNS).sort("method", "lr", "seed")
    found = runs_of(read(tmp_path, SAME[name])).sort("method", "lr", "seed")
    assert found.drop("outcome").rows() == expected.rows()


@pytest.mark.parametrize(
    ("cell", "outcome"),
    [("-nan(ind)", "diverged"), ("1.#QNAN", "diverged"), ("1.#INF", "diverged"), ("Infinity", "diverged")],
)
def test_what_c_libraries_print_is_not_finite(tmp_path, cell, outcome):
    assert runs_of(read(tmp_path, f"{HEADER}\na,0.1,0,{cell},4\n"))["outcome"].to_list() == [outcome]


@pytest.mark.parametrize("cell", ["", "NA", "<NA>", "null", "None", "#N/A", "#NUM!", "-", "\N{EM DASH}"])
def test_what_became_of_a_run_without_a_loss_is_asked(tmp_path, cell):
    text = f"{HEADER}\na,0.1,0,{cell},4\na,0.1,1,2,4\n"
    with pytest.raises(UsageError, match=r"can't tell what became .* --without-loss diverged, .* --without-loss lost"):
        runs_of(read(tmp_path, text))
    assert runs_of(read(tmp_path, text, without_loss="lost"))["seed"].to_list() == [1]
    outcomes = runs_of(read(tmp_path, text, without_loss="diverged"))["outcome"].to_list()
    assert outcomes == ["diverged", "completed"]


def test_thousands_and_decimal_commas_are_told_by_the_other_numbers(tmp_path):
    header = f"{HEADER},num_steps"
    file = read(tmp_path, f'{header}\na,0.1,0,1.5,4,"10,000"\n')
    assert imported_runs(file, plain_reading("theirs")).results[0].trial.workload.params["num_steps"] == 10_000
    assert "numbers with commas between thousands: 1" in file.notes
    undecided = read(tmp_path, f"{header.replace(',', ';')}\na;1e-1;0;2;4;10,000\n")
    with pytest.raises(UsageError, match="column 'num_steps': '10,000'; required a whole number"):
        imported_runs(undecided, plain_reading("theirs"))


def test_the_rate_of_a_schedule_tells_no_runs_apart(tmp_path):
    """A column lr that falls with the steps would make each row a run of its own."""
    rows = [
        f"a,{lr * (1 - step / 400)},{seed},{step},{4 - step / 200}"
        for lr in (0.1, 0.2) for seed in (0, 1) for step in (0, 100, 200)
    ]  # fmt: skip
    grid = "\n".join(["method,lr,seed,step,loss", *rows]) + "\n"
    alone = "\n".join(["method,lr,seed,step,loss", *rows[:3]]) + "\n"
    for text in (grid, alone):
        with pytest.raises(UsageError, match="schedule"):
            read(tmp_path, text)
    found = runs_of(read(tmp_path, alone, ignored=["lr"], constants={"lr": "0.1"}))
    assert found.rows() == [("a", 0.1, 0, "completed", 3.0, 4.0)]


def test_rows_of_one_step_that_fill_each_others_gaps_are_one(tmp_path):
    """Lightning's logger writes training and held-out losses of a step into rows of their own."""
    text = "epoch,step,train_loss,val_loss\n0,9,3.5,\n0,9,,3.75\n1,19,2.5,\n1,19,,3.25\n"
    run = {"method": "a", "lr": "0.1", "seed": "0", "initial_loss": "4"}
    file = read(tmp_path, text, constants=run)
    assert file.cells.select("final_loss", "val_loss").rows() == [("2.5", "3.25")]
    assert "4 rows of one run" in " ".join(file.notes)


def test_the_loss_of_epoch_0_is_not_taken_as_that_at_init(tmp_path):
    """Keras counts epochs from 0, and logs each after it."""
    file = read(tmp_path, "method,lr,seed,epoch,loss\na,0.1,0,0,3\na,0.1,0,1,2\n")
    assert "initial_loss" not in file.cells.columns
    assert "epoch 0 may be of after the first" in " ".join(file.notes)


def test_runs_of_workloads_of_unequal_lengths_are_not_cut_short(tmp_path):
    rows = [f"{work},a,0.1,0,{step},{4 - step / 900}" for work, end in (("u", 300), ("v", 900)) for step in (0, end)]
    file = read(tmp_path, "\n".join(["workload,method,lr,seed,step,loss", *rows]) + "\n")
    assert file.cells["workload"].to_list() == ["u", "v"]


def test_held_out_losses_alone_take_the_loss_at_init_of_the_option(tmp_path):
    file = read(tmp_path, "method,lr,seed,val_loss\na,0.1,0,2\n", loss="validation")
    from dataclasses import replace

    result = imported_runs(file, replace(plain_reading("theirs"), initial_loss=4.0)).results[0]
    assert (result.final_loss, result.initial_loss, result.held_out["initial_val_loss"]) == (2.0, 4.0, 4.0)


def test_a_list_that_is_ignored_leaves_a_tidy_file(tmp_path):
    file = read(tmp_path, f"{HEADER},tags\na,0.1,0,2,4,\"['x']\"\n", ignored=["tags"])
    assert runs_of(file).height == 1


def test_the_least_loss_of_a_run_is_not_its_last(tmp_path):
    with pytest.raises(UsageError, match="'final_loss \\(Min\\)'"):
        runs_of(read(tmp_path, PLAIN.replace("final_loss", "final_loss (Min)")))


def test_what_is_packed_stays_within_its_bound_and_what_is_damaged_is_said(tmp_path):
    packed = gzip.compress(b"0" * (MAX_BYTES + 1))
    with pytest.raises(UsageError, match="over 67 MB unpacked from gzip"):
        read(tmp_path, packed)
    for name in ("gzip", "bzip2", "xz"):
        with pytest.raises(UsageError, match="cut short"):
            read(tmp_path, SAME[name][:-9])
    with pytest.raises(UsageError, match="can't be unpacked from gzip"):
        read(tmp_path, gzip.compress(b"1")[:10] + b"\xff" * 30)


def test_files_that_can_not_be_read_are_called_by_their_name(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("[Content_Types].xml", "<Types/>")
    others = {"Excel": archive.getvalue(), "HTML": b"<!DOCTYPE html>", "Git LFS": b"version https://git-lfs.github.com",
              "SQLite": b"SQLite format 3\0", "pickle": b"\x80\x04"}  # fmt: skip
    for name, content in others.items():
        with pytest.raises(UsageError, match=name):
            read(tmp_path, content)
    with pytest.raises(UsageError, match="no columns"):
        read(tmp_path, "{}")
