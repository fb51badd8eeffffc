"""Exports as people have them go in with the right mapping, or get one line that says what would be right."""

import io
import json
import math

import pandas as pd
import polars as pl
import pytest

from bench.errors import UsageError
from bench.imports.formats import as_tidy
from bench.imports.runs import ABSENT, Reading, imported_runs
from bench.imports.tidy_file import read_tidy
from bench.imports.wishes import Wishes

HEADER = "method,lr,seed,final_loss,initial_loss"
ONE = {"constants": {"method": "a", "lr": "0.1", "seed": "0"}, "initial_loss": 4.0}
NAMED = {"run_names": "{method}-lr{lr}-s{seed}"}


def parquet(frame: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.to_parquet(content)
    return content.getvalue()


def read(folder, content: str | bytes, name: str = "runs", initial_loss: float | None = None, **wishes):
    """The runs and the notes of a file."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    file = as_tidy(read_tidy(folder / name), Wishes(**wishes))
    settings = wishes.get("settings", ())
    reading = Reading(name="theirs", initial_loss=initial_loss, settings=settings, absent=ABSENT, label=str)
    return imported_runs(file, reading), "\n".join(file.notes)


# Weights & Biases: a runs table whose page showed neither Created nor Runtime, with the settings under `config.`
WANDB_RUNS = """\
"Name","State","config.model.attn","config.optimizer.lr","config.optimizer.name","config.seed","_step","train/loss"
"r-1","finished","a","0.1","adamw","0","1999","2.5"
"r-2","crashed","a","0.2","adamw","0","1999","3.5"
"r-3","killed","a","0.3","adamw","0","1999","3.5"
"r-4","running","a","0.4","adamw","0","1999","3.5"
"r-5","finished","b","0.1","adamw","0","1999","NaN"
"""
# Hugging Face's trainer ends its log with the mean of the loss, `train_loss`; the rate falls from row to row.
TRAINER_STATE = json.dumps(
    {
        "global_step": 200,
        "log_history": [
            {"epoch": 0.1, "learning_rate": 4e-5, "loss": 3.0, "step": 100},
            {"epoch": 0.1, "eval_loss": 3.25, "step": 100},
            {"epoch": 0.2, "learning_rate": 2e-5, "loss": 2.5, "step": 200},
            {"epoch": 0.2, "eval_loss": 2.75, "step": 200},
            {"epoch": 0.2, "train_loss": 2.875, "train_runtime": 20.5, "step": 200},
        ],
    }
)
OPTUNA_ATTRS = (
    "number,value,params_lr,params_attn,user_attrs_seed,state\n"
    "0,2.5,0.1,a,0,COMPLETE\n1,3.5,0.2,a,0,PRUNED\n2,,0.3,a,0,FAIL\n3,3.5,0.4,a,0,RUNNING\n"
)
FRAME = pd.DataFrame({"method": ["a", "b"], "lr": [0.1, 0.1], "seed": 0, "final_loss": [2.5, 3], "initial_loss": 4.0})
A, B = ("a", 0.1, 0, "completed", 2.5, 4.0), ("b", 0.1, 0, "completed", 3.0, 4.0)
DIVERGED = ("a", 0.2, 0, "diverged", math.inf, 4.0)

# What a file holds, what is said beside, its runs as (method, lr, seed, outcome, final and initial loss), and a note.
RIGHT: dict[str, tuple[str | bytes, dict, list[tuple], str]] = {
    "runs of W&B without Created": (
        WANDB_RUNS, {"initial_loss": 4.0}, [A, ("b", 0.1, 0, "diverged", math.inf, 4.0)],
        "lost and no results: 1 crashed, 1 killed, 1 running"),
    "settings as .value": (
        "Name,State,attn.value,lr.value,seed.value,loss\nr,finished,a,0.1,0,2.5\n", {"initial_loss": 4.0}, [A],
        "method from attn.value"),
    "a chart of W&B over another axis": (
        '"train/global_step","a-lr0.1-s0 - _step","a-lr0.1-s0 - loss","a-lr0.1-s0 - loss__MIN"\n0,0,4,4\n9,9,2.5,1\n',
        NAMED, [A], "its 2 columns of steps, __MIN and __MAX are no runs"),
    "a chart of W&B with constants": (
        "Step,a - loss\n0,4\n9,2.5\n", {"run_names": "{method}", "constants": {"lr": "0.1", "seed": "0"}}, [A], ""),
    "MLflow without ids": (
        "status,metrics.loss,params.lr,params.seed,params.method,metrics.initial_loss\n"
        "FINISHED,2.5,0.1,0,a,4\nFAILED,3.5,0.2,0,a,4\n", {}, [A], "1 FAILED"),
    "MLflow's inf in any file": (f"{HEADER}\na,0.2,0,1.7976931348623157e+308,4\n", {}, [DIVERGED], ""),
    "a history of MLflow": (
        "key,value,timestamp,step,run_id\nloss,4,17,0,ab\nloss,2.5,18,9,ab\n", {**ONE, "initial_loss": None}, [A],
        "a row a value, named by 'key'"),
    "MLflow's rate of a schedule": (
        "status,metrics.lr,metrics.loss,params.learning_rate,params.seed,params.method,metrics.initial_loss\n"
        "FINISHED,0.01,2.5,0.1,0,a,4\n", {}, [A], "columns left out: rates that were measured (metrics.lr)"),
    "Ray Tune's rate of a schedule": (
        "trial_id,training_iteration,loss,lr,config/learning_rate,config/seed,config/attn\nt0,9,2.5,0.01,0.1,0,a\n",
        {"initial_loss": 4.0}, [A], "lr from config/learning_rate"),
    "Optuna's columns as chosen": (OPTUNA_ATTRS, {"initial_loss": 4.0}, [A], "1 PRUNED, 1 RUNNING"),
    "Optuna's named objectives": (
        "number,values_loss,values_size,params_lr,params_attn,user_attrs_seed,state\n0,2.5,9,0.1,a,0,COMPLETE\n",
        {"initial_loss": 4.0}, [A], "final_loss from values_loss"),
    "a trial of Ray Tune that was stopped": (
        "loss,training_iteration,trial_id,config/lr,config/seed,config/attn\n2.5,9,t0,0.1,0,a\n3.5,3,t1,0.2,0,a\n",
        {"initial_loss": 4.0}, [A], "cut short and lost: 1 (trial_id t1"),
    "trainer_state.json": (TRAINER_STATE, ONE, [A], "final_loss from loss, val_loss from eval_loss"),
    "points of TensorBoard in JSON": ("[[17.5,0,4.0],[18.5,9,2.5]]", {**ONE, "initial_loss": None}, [A], "one run"),
    "values by tag": (
        "run,tag,step,value\na-lr0.1-s0,train/loss,0,4\na-lr0.1-s0,train/loss,9,2.5\na-lr0.1-s0,val/loss,9,3\n",
        NAMED, [A], "named by 'tag': train/loss, val/loss"),
    "metrics of Sacred": (
        '{"training.loss": {"steps": [0, 9], "timestamps": ["x", "y"], "values": [4.0, 2.5]}}',
        {"constants": ONE["constants"], "columns": {"final_loss": "training.loss"}}, [A], ""),
    "overrides of Hydra": (
        "overrides,loss,initial_loss\n\"['model.attn=a','+optim.lr=0.1','seed=0']\",2.5,4\n",
        {"columns": {"method": "overrides/model.attn", "lr": "overrides/optim.lr", "seed": "overrides/seed"}}, [A], ""),
    "runs by name": (
        json.dumps({"x": FRAME.iloc[0].to_dict(), "y": {**FRAME.iloc[1].to_dict(), "note": "n"}}, default=int),
        {"ignored": ["run", "note"]}, [A, B], ""),
    "runs with histories": (
        json.dumps([{"config": {"method": "a", "lr": 0.1, "seed": 0},
                     "history": [{"step": 0, "loss": 4}, {"step": 9, "loss": 2.5}]}]), {}, [A], "2 rows of one run"),
    "lists of losses": (
        'method,lr,seed,train_losses\na,0.1,0,"[4, 2.5]"\n', {"initial_loss": 4.0}, [A],
        "final_loss from train_losses"),
    "truth values of divergence": (
        f"{HEADER},diverged\na,0.1,0,2.5,4,False\na,0.2,0,7,4,True\n", {}, [A, DIVERGED], "diverged by 'diverged': 1"),
    "truth values of crashes": (f"{HEADER},crashed\na,0.1,0,2.5,4,no\na,0.2,0,7,4,yes\n", {}, [A], "1 crashed"),
    "outcomes in capitals": (
        f"{HEADER},outcome\na,0.1,0,2.5,4,Completed\na,0.2,0,7,4,DIVERGED\n", {}, [A, DIVERGED], ""),
    "states of checkpoints": (
        "method,lr,seed,status,step,loss\na,0.1,0,done,0,4\na,0.1,0,done,9,2.5\na,0.2,0,FAILED,0,4\na,0.2,0,FAILED,9,1\n",
        {}, [A], "left out by 'status', lost and no results: 1 FAILED"),
    "points between thousands": (
        "method;lr;seed;final_loss;initial_loss\na;0,1;0;2,5;4,0\nb;0,1;0;3,0;1.234,5\n", {},
        [A, ("b", 0.1, 0, "completed", 3.0, 1234.5)], "numbers with points between thousands: 1"),
    "spaces between thousands": (f"{HEADER}\na,0.1,0,2.5,4\nb,0.1,0,3,1\N{NO-BREAK SPACE}234\n", {},
        [A, ("b", 0.1, 0, "completed", 3.0, 1234.0)], "numbers with spaces between thousands: 1"),
    "a minus that was typeset": (f"{HEADER}\na,1e\N{MINUS SIGN}1,0,2.5,4\n", {}, [A], ""),
    "Excel's first line in quotes": ('"sep=;"\n' + f"{HEADER}\na,0.1,0,2.5,4\n".replace(",", ";"), {}, [A], ""),
    "the end of a file of DOS": (f"{HEADER}\r\na,0.1,0,2.5,4\r\n\x1a", {}, [A], ""),
    "a table in Markdown": (
        "| method | lr | seed | loss | initial_loss |\n| --- | ---: | --- | ---: | --- |\n| a | 0.1 | 0 | 2.5 | 4 |\n",
        {}, [A], ""),
    "an index in Parquet": (parquet(FRAME.set_axis([7, 3])), {}, [A, B], "__index_level_0__) numbers rows: left out"),
    "names of an index in Parquet": (parquet(FRAME.set_index(["method", "lr"])), {}, [A, B], ""),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_file_of_others_says_its_runs(tmp_path, name):
    content, wishes, expected, note = RIGHT[name]
    runs, notes = read(tmp_path, content, **wishes)
    columns = ("method", "lr", "seed", "outcome", "final_loss", "initial_loss")
    assert runs.frame.select(columns).rows() == expected
    assert note in notes


# What a file holds, what is said beside, and what the one line says.
WRONG: dict[str, tuple[str, dict, str]] = {
    "a chart of groups": ("Step,Group: a - loss\n0,4\n", NAMED, "a mean over runs; required the chart without groups"),
    "units of rates": ("method,lr [1e-3],seed\na,1,0\n", {}, "column 2 ('lr [1e-3]'): its numbers are in units of"),
    "logarithms of rates": ("method,lr (-log10),seed\na,1,0\n", {}, "required them in full"),
    "percent of accuracy": (f"{HEADER},val_accuracy (%)\na,0.1,0,2,4,45\n", {}, "in units of '%'"),
    "some percentages": (f"{HEADER},val_accuracy\na,0.1,0,2,4,45%\nb,0.1,0,2,4,45\n", {}, "a number from 0 to 1"),
    "decimal commas and points": (
        "method;lr;seed;final_loss;initial_loss\na;0,001;0;2.5;4\n", {}, "above 0, with a decimal point"),
    "two objectives of Optuna": (
        "number,values_0,values_1,params_lr,params_attn,user_attrs_seed,state\n0,2,9,0.1,a,0,COMPLETE\n",
        {"initial_loss": 4.0}, r"--map final_loss=COLUMN of the file); .* (values_0, values_1)"),
    "names that are given twice": ('[{"method": "a", "lr": 0.1, "lr": 0.2}]', {}, "has the name 'lr' twice"),
    "a state of Ray Tune": ('{"trial_data": [], "runner_data": {}}', {}, "required its results: result.json"),
    "a notebook": ('{"cells": [], "nbformat": 4}', {}, "a notebook; required a table of runs"),
    "a list of text": ("method,tags\na,\"['x', 'y']\"\n", {}, "required numbers, or --ignore tags"),
    "no header": ("softmax,0.1,0,2\nsoftmax,0.2,0,2\n", {}, "required names of columns in the first line"),
    "spaces between columns": ("method lr seed\na 0.1 0\n", {}, "required several columns, with commas"),
    "a column a method": ("lr,softmax,relu\n0.1,2,2\n", {}, "a row a run, as pandas' melt() writes it"),
    "held-out losses alone": ("method,lr,seed,val_loss\na,0.1,0,2\n", {"initial_loss": 4.0}, "--loss validation"),
    "values of one step": (
        "tag,step,value\nloss,0,4\nloss,0,3\n", ONE, "row 1: another row has the same step, method, lr, seed, tag"),
    "tags without steps": ("tag,step,value\nloss,0,4\n", {"ignored": ["step"]}, "required names of columns"),
    "ways to end that are not known": (
        f"{HEADER},status\na,0.1,0,2,4,done\na,0.2,0,2,4,early_stopped\na,0.3,0,2,4,crashed\n", {},
        "'early_stopped' may be a finished run or a lost one"),
    "the same of checkpoints": (
        "method,lr,seed,status,step,loss\na,1,0,done,0,4\na,1,0,done,9,2\na,2,0,stuck,0,4\na,2,0,stuck,9,2\n", {},
        "'stuck' may be a finished run or a lost one"),
    "two rates": (f"{HEADER},learning_rate\na,0.01,0,2,4,0.1\n", {}, "--ignore the other (of two rates"),
    "a rate and a peak": (f"{HEADER},peak_lr\na,0.01,0,2,4,0.1\n", {}, "or 'peak_lr' is the rate that a run was given"),
    "a rate that was measured alone": (
        "status,metrics.lr,metrics.loss,params.seed,params.method\nFINISHED,0.01,2.5,0,a\n", {"initial_loss": 4.0},
        "no column 'lr' .* rates that were measured (metrics.lr)"),
    "a data set": (f"dataset,{HEADER}\nc4,a,0.1,0,2,4\n", {}, "`bench import` takes --map workload=dataset"),
    "epochs of Keras": (",loss,val_loss\n0,3,3\n1,2,2\n", ONE, "or one named `step` where rows are checkpoints"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_can_not_be_read_says_what_would_be_right(tmp_path, name):
    content, wishes, fragment = WRONG[name]
    with pytest.raises(UsageError) as raised:
        read(tmp_path, content, **wishes)
    words = fragment.split(" .* ")
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert str(raised.value).count("\n") <= 1  # a cell a line


def test_percentages_are_parts_of_1(tmp_path):
    runs, _ = read(tmp_path, f"{HEADER},val_accuracy\na,0.1,0,2,4,45.5%\nb,0.1,0,2,4,5 %\n")
    assert [result.held_out["val_accuracy"] for result in runs.results] == [0.455, 0.05]


def test_a_name_of_a_setting_is_read_by_its_last_parts(tmp_path):
    runs, _ = read(tmp_path, WANDB_RUNS, initial_loss=4.0)
    assert runs.frame["optimizer"].unique().to_list() == ["adamw"]


def test_the_held_out_loss_in_a_row_after_the_last_loss_is_of_the_end(tmp_path):
    """Lightning writes training and held-out losses into rows of their own, at steps of their own."""
    text = "epoch,step,train_loss,val_loss\n0,49,3.5,\n0,99,,3.25\n1,149,2.5,\n1,199,,2.25\n"
    runs, _ = read(tmp_path, text, **ONE)
    (result,) = runs.results
    assert (result.final_loss, result.held_out["val_loss"]) == (2.5, 2.25)
    trace = runs.traces[result.trial.id].filter(pl.col("quantity") == "val_loss")
    assert trace.select("step", "value").rows() == [(99, 3.25), (199, 2.25)]


def test_a_row_a_run_leaves_no_traces(tmp_path):
    runs, _ = read(tmp_path, "method,lr,seed,step,loss\na,0.1,0,9,2\na,0.2,0,9,2\n", initial_loss=4.0)
    assert len(runs.results) == 2
    assert not runs.traces
