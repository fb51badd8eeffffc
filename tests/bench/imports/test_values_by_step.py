"""Values by step become a row a run and its trace: TensorBoard, lists in cells, several rows a run."""

import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from tensorboardX import FileWriter
from tensorboardX.proto import event_pb2, summary_pb2, tensor_pb2

from analysis.scores.leaderboard import leaderboard
from analysis.scores.traces import TRIAL_COLUMNS, trial_measures
from bench.errors import UsageError
from bench.imports.formats import as_tidy
from bench.imports.runs import ImportedRuns, imported_runs, plain_reading
from bench.imports.tidy_file import TidyFile, read_tidy
from bench.imports.wishes import Wishes
from tests.bench.imports import files_of_others as files

NAMES = "{method}-lr{lr}-s{seed}"


def read(path, **wishes) -> TidyFile:
    return as_tidy(read_tidy(path), Wishes(**wishes))


def runs_of(file: TidyFile) -> ImportedRuns:
    return imported_runs(file, plain_reading("theirs"))


def curves(runs: ImportedRuns, quantity: str = "loss") -> dict[tuple, list[tuple]]:
    """(step, value) by method, lr and seed."""
    return {
        (one.trial.method.label, one.trial.knobs.lr, one.trial.seed): runs.traces[one.trial.id]
        .filter(pl.col("quantity") == quantity)
        .select("step", "value")
        .rows()
        for one in runs.results
        if one.trial.id in runs.traces
    }


def message(module: Any, name: str, **fields: Any) -> Any:
    """A message of a generated module, whose names type checkers don't see."""
    return getattr(module, name)(**fields)


def scalar(tag: str, value: float) -> Any:
    return message(summary_pb2, "Summary").Value(tag=tag, simple_value=value)


def tensor(tag: str, value: float) -> Any:
    content = message(tensor_pb2, "TensorProto", dtype=2, tensor_content=np.float64(value).tobytes())
    return message(summary_pb2, "Summary").Value(tag=tag, tensor=content)


def write_events(folder, values: dict[int, list]) -> None:
    """An event file as TensorBoard's writers make it."""
    writer = FileWriter(str(folder))
    for step, of_step in values.items():
        summary = message(summary_pb2, "Summary", value=of_step)
        writer.add_event(message(event_pb2, "Event", step=step, summary=summary), step=step)
    writer.close()


@pytest.fixture(scope="module")
def event_folder(tmp_path_factory):
    """Three runs: one whole, one that diverges, one that stops early with a finite loss."""
    folder = tmp_path_factory.mktemp("tensorboard") / "runs"
    write_events(
        folder / "softmax-lr0.1-s0", {step: [scalar("train/loss", 4 - step / 500), tensor("val/loss", 4.5 - step / 500),
                                             scalar("grad_norm", 1.0)] for step in range(0, 1001, 100)}
    )  # fmt: skip
    diverging = {0: 4.0, 100: 3.5, 200: math.inf, 300: math.nan}
    write_events(folder / "softmax-lr1.0-s0", {step: [scalar("train/loss", loss)] for step, loss in diverging.items()})
    write_events(folder / "softmax-lr0.2-s0", {step: [scalar("train/loss", 3.0)] for step in (0, 100, 200)})
    return folder


def test_a_folder_of_event_files_is_a_run_a_folder(event_folder):
    with pytest.raises(UsageError, match=r"scalars of TensorBoard of 3 runs; required what a run's name says"):
        read(event_folder)
    file = read(event_folder, run_names=NAMES)
    runs = runs_of(file)
    (row,) = leaderboard(runs.frame).rows(named=True)
    assert (row["num_trials"], row["best_loss"], row["best_lr"]) == (2, 2.0, 0.1)
    assert row["diverged_share"] == 0.5
    assert [one.diverged_step for one in runs.results] == [None, 200]
    assert runs.results[0].held_out["val_loss"] == 2.5
    assert runs.results[0].held_out["initial_val_loss"] == 4.5
    assert curves(runs)["softmax", 0.1, 0] == [(s, pytest.approx(4 - s / 500)) for s in range(0, 1001, 100)]
    assert file.cells["final_loss"].to_list() == ["2", "inf"]
    assert curves(runs, "val_loss")["softmax", 0.1, 0][-1] == (1000, 2.5)
    said = "\n".join(file.notes)
    assert "read as scalars of TensorBoard, 3 runs" in said
    assert "cut short and lost: 1 (method softmax, lr 0.2, seed 0: ends at step 200 of 1000)" in said


def test_one_event_file_alone_is_a_run_that_is_said(event_folder):
    (path,) = (event_folder / "softmax-lr0.1-s0").iterdir()
    with pytest.raises(UsageError, match=r"required --set method=\.\.\.,lr=\.\.\.,seed=\.\.\."):
        read(path)
    file = read(path, constants={"method": "softmax", "lr": "0.1", "seed": "0"})
    assert curves(runs_of(file)).keys() == {("softmax", 0.1, 0)}


def test_what_a_killed_writer_left_is_read_and_damage_is_said(event_folder, tmp_path):
    (path,) = (event_folder / "softmax-lr0.1-s0").iterdir()
    content = path.read_bytes()
    cut = tmp_path / path.name
    cut.write_bytes(content[:-9])
    assert read_tidy(cut).cells.height == read_tidy(path).cells.height - 1
    for damaged in (content[:40], b"\xff" * 200, content[:60] + b"\xff" * 40 + content[100:], b""):
        cut.write_bytes(damaged)
        with pytest.raises(UsageError, match=r"damaged|no scalar"):
            read_tidy(cut)


def test_records_of_over_a_mebibyte_are_counted_as_left_out(tmp_path):
    values = {step: [scalar("train/loss", 4 - step / 500)] for step in (0, 100, 200)}
    long = scalar("a" * (2**20 + 1), 1.0)
    write_events(tmp_path / "softmax-lr0.1-s0", values | {50: [long], 150: [long]})
    file = read(tmp_path, run_names=NAMES)
    assert "2 records of over 1 MiB left out unread (images, graphs, histograms)" in "\n".join(file.notes)
    assert curves(runs_of(file))["softmax", 0.1, 0] == [(s, pytest.approx(4 - s / 500)) for s in (0, 100, 200)]
    write_events(tmp_path / "alone" / "softmax-lr0.1-s0", {0: [long]})
    with pytest.raises(UsageError, match="one event file of TensorBoard; one record of over 1 MiB left out"):
        read_tidy(tmp_path / "alone")


def test_a_download_of_tensorboard_is_a_run(tmp_path):
    path = tmp_path / "run-softmax-lr0.1-s0-tag-train_loss.csv"
    path.write_text("Wall time,Step,Value\n1.5,0,4.0\n2.5,10,3.0\n3.5,20,2.5\n")
    runs = runs_of(read(path, run_names=NAMES))
    assert curves(runs) == {("softmax", 0.1, 0): [(0, 4.0), (10, 3.0), (20, 2.5)]}
    assert (runs.results[0].initial_loss, runs.results[0].final_loss) == (4.0, 2.5)


def test_checkpoints_and_charts_leave_traces(tmp_path):
    (tmp_path / "rows.csv").write_text(files.LONG_CHECKPOINTS)
    found = curves(runs_of(read(tmp_path / "rows.csv")))
    assert len(found) == 11
    assert found["window", 0.01, 0] == [
        (0, pytest.approx(4.1)),
        (500, pytest.approx(2.4353)),
        (1000, pytest.approx(1.891)),
    ]
    assert found["softmax", 0.01, 0][-1] == (500, pytest.approx(math.nan, nan_ok=True))
    (tmp_path / "chart.csv").write_text(files.wandb_chart())
    runs = runs_of(read(tmp_path / "chart.csv", run_names=NAMES))
    assert len(curves(runs)["softmax", 0.001, 0]) == 20
    trials = pl.DataFrame(
        [(one.trial.id, 4.2, 2.9, None) for one in runs.results],
        schema=TRIAL_COLUMNS,
        orient="row",
    )
    measures = trial_measures(pl.concat(runs.trace_lots(list(runs.traces), None)), trials)
    assert measures["has_loss"].all()
    # mean of the last ten of 4.163, 3.631, ..., below 2.9 first at step 300 of softmax at 0.001
    losses = [value for _, value in curves(runs)["softmax", 0.001, 0]]
    means = [sum(losses[max(0, end - 10) : end]) / min(end, 10) for end in range(1, 21)]
    assert measures["target_step"][0] == 50 * next(place for place, mean in enumerate(means) if mean <= 2.9)


def test_lists_in_cells_are_values_by_step(tmp_path):
    rows = [
        {"method": "a", "lr": 0.1, "seed": 0, "step": [0, 10, 20], "loss": [4.0, 3.0, 2.0]},
        {"method": "a", "lr": 0.2, "seed": 0, "step": [0, 10], "loss": [4.0, math.nan]},
        {"method": "a", "lr": 0.4, "seed": 0, "step": [0, 10], "loss": [4.0, 3.5]},
    ]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pl.DataFrame(rows).write_parquet(tmp_path / "lists.parquet")
    pl.DataFrame([{**row, "step": str(row["step"]), "loss": str(row["loss"])} for row in rows]).write_csv(
        tmp_path / "lists.csv"
    )
    for name in ("lines.jsonl", "lists.parquet", "lists.csv"):
        file = read(tmp_path / name)
        runs = runs_of(file)
        assert [(one.initial_loss, one.final_loss, one.diverged_step) for one in runs.results] == [
            (4.0, 2.0, None),
            (4.0, math.inf, 10),
        ]
        assert curves(runs)["a", 0.1, 0] == [(0, 4.0), (10, 3.0), (20, 2.0)]
        assert any("cut short and lost: 1" in note for note in file.notes)
    (tmp_path / "wrong.csv").write_text('method,lr,seed,step,loss,initial_loss\na,0.1,0,"[1]","[3, 2]",4\n')
    with pytest.raises(UsageError, match="row 1: 'step' has 1 values; required 2, as another list"):
        read(tmp_path / "wrong.csv")


def test_without_steps_values_count_from_1_and_none_is_at_init(tmp_path):
    (tmp_path / "lists.csv").write_text('method,lr,seed,loss,initial_loss\na,0.1,0,"[3, 2]",4\n')
    file = read(tmp_path / "lists.csv")
    runs = runs_of(file)
    assert (runs.results[0].initial_loss, runs.results[0].final_loss) == (4.0, 2.0)
    assert curves(runs)["a", 0.1, 0] == [(1, 3.0), (2, 2.0)]
    assert any("counted from 1" in note for note in file.notes)


def test_of_several_rows_a_run_the_last_is_final(tmp_path):
    text = "id,method,lr,seed,step,loss,note\n" + "".join(
        f"{name},a,{lr},0,{step},{4 - step / 100},{note}\n"
        for name, lr in (("x", 0.1), ("y", 0.2))
        for step, note in ((0, ""), (100, "half"), (200, ""))
    )
    (tmp_path / "rows.csv").write_text(text)
    file = read(tmp_path / "rows.csv", last_of="id", ignored=["note"])
    assert file.cells.select("lr", "loss", "initial_loss").rows() == [("0.1", "2.0", "4.0"), ("0.2", "2.0", "4.0")]
    assert len(curves(runs_of(file))["a", 0.1, 0]) == 3
    assert "6 rows of 2 runs, told apart by id; the last of each, by 'step', is final" in file.notes
    with pytest.raises(UsageError, match="no column 'run' that tells runs apart"):
        read(tmp_path / "rows.csv", last_of="run")


def test_a_row_an_iteration_of_ray_tune_is_a_trace(tmp_path):
    (tmp_path / "result.json").write_text(files.ray_results())
    file = read(tmp_path / "result.json", constants={"initial_loss": "3"})
    assert curves(runs_of(file))["softmax", 0.1, 0][-1] == (9, pytest.approx(2.2))
    assert sorted(file.cells["lr"]) == ["0.1", "0.2"]
    assert any(
        "cut short and lost: 1 (trial_id t0.4: ends at training_iteration 3 of 9)" in note for note in file.notes
    )


def test_a_held_out_loss_alone_is_enough_where_it_is_scored(tmp_path):
    (tmp_path / "runs.csv").write_text("method,lr,seed,val_loss,initial_val_loss\na,0.1,0,2.0,3.0\na,0.2,0,2.5,3.0\n")
    with pytest.raises(UsageError, match="no column 'final_loss', 'initial_loss'"):
        runs_of(read(tmp_path / "runs.csv"))
    file = read(tmp_path / "runs.csv", loss="validation")
    board = leaderboard(runs_of(file).frame, loss="validation")
    assert board["lr_sensitivity"].to_list() == [0.25]
    assert "no training loss: val_loss stands for final_loss and initial_val_loss stands for initial_loss" in file.notes
