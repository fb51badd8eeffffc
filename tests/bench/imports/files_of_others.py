"""Files of others as they write them, small and made up, for tests of how they are read."""

import itertools
import json

# name, State, method, optimizer.lr, seed, _step, train/loss, val/loss of a runs table; - is an empty cell
_WANDB_RUNS = """\
hazy-dune-26 running relu_kernel 0.01 3 877 2.30518 -
hazy-grove-25 finished relu_kernel 0.01 2 1999 2.09166 2.23081
calm-brook-24 finished relu_kernel 0.01 1 1999 2.10214 2.21283
eager-isle-23 finished relu_kernel 0.01 0 1999 2.12937 2.22261
faint-fjord-22 finished relu_kernel 0.003 2 1999 2.03705 2.13862
eager-heron-21 finished relu_kernel 0.003 1 1999 2.01554 2.11527
giddy-isle-20 finished relu_kernel 0.003 0 1999 2.01077 2.13991
calm-dune-19 finished relu_kernel 0.001 2 1999 2.21086 2.29758
giddy-fjord-18 crashed relu_kernel 0.001 2 612 2.41977 2.53102
giddy-grove-17 finished relu_kernel 0.001 1 1999 2.1918 2.30468
faint-dune-16 finished relu_kernel 0.001 0 1999 2.20769 2.30275
dusty-brook-15 finished relu_kernel 0.0003 2 1999 2.64616 2.73408
dusty-brook-14 finished relu_kernel 0.0003 1 1999 2.62211 2.72492
dusty-ember-13 failed relu_kernel 0.0003 0 140 3.30714 -
hazy-grove-12 finished softmax 0.01 2 1999 NaN NaN
eager-grove-11 crashed softmax 0.01 1 - - -
giddy-fjord-10 finished softmax 0.01 0 1999 2.91341 3.03636
calm-heron-9 finished softmax 0.003 2 1999 1.81881 1.94394
hazy-heron-8 finished softmax 0.003 1 1999 1.84147 1.9434
amber-ember-7 finished softmax 0.003 0 1999 1.84759 1.94611
giddy-brook-6 finished softmax 0.001 2 1999 1.98817 2.07227
dusty-isle-5 finished softmax 0.001 1 1999 1.99714 2.09435
amber-brook-4 finished softmax 0.001 0 1999 1.99144 2.09566
giddy-cedar-3 finished softmax 0.0003 2 1999 2.39314 2.50581
dusty-brook-2 finished softmax 0.0003 1 1999 2.40225 2.53076
amber-heron-1 finished softmax 0.0003 0 1999 2.39094 2.52688
"""
# run_id, status, params.method, params.lr, params.seed, metrics.final_loss, .initial_loss, .val_loss; - is empty
_MLFLOW_RUNS = """\
24fabb99 FINISHED qk_norm 0.01 1 1.933076 4.161 2.013212
b39dbd78 FINISHED qk_norm 0.01 0 1.948067 4.158 2.034618
edd4a7ed FINISHED qk_norm 0.003 1 1.831294 4.161 1.908545
c503cb28 FINISHED qk_norm 0.003 0 1.836113 4.158 1.922652
1db27fc7 RUNNING qk_norm 0.001 1 2.61188 4.161 -
e768d98f FINISHED qk_norm 0.001 0 2.05389 4.158 2.129171
ab44ac2c FAILED qk_norm 0.0003 1 - 4.161 -
4c65c990 FINISHED qk_norm 0.0003 0 2.53862 4.158 2.612015
b8e3caef FINISHED softmax 0.01 1 1.7976931348623157e+308 4.161 1.7976931348623157e+308
e5884683 FINISHED softmax 0.01 0 - 4.158 -
ebce2793 FINISHED softmax 0.003 1 1.776675 4.161 1.866192
83ea665d FINISHED softmax 0.003 0 1.804743 4.158 1.880775
6c87dc70 FINISHED softmax 0.001 1 2.020934 4.161 2.09214
8196a68a FINISHED softmax 0.001 0 2.000604 4.158 2.07953
460de065 FINISHED softmax 0.0003 1 2.520932 4.161 2.608506
97ea8c90 FINISHED softmax 0.0003 0 2.501743 4.158 2.581326
"""
_CHART_RUNS = (
    "softmax-lr0.001-s0",
    "softmax-lr0.003-s0",
    "softmax-lr0.01-s0",
    "relu_kernel-lr0.001-s0",
    "relu_kernel-lr0.003-s0",
    "relu_kernel-lr0.01-s0",
)
# Step, then the loss of each run
_CHART = """\
0 4.163 4.163 4.163 4.171 4.171 4.171
50 3.63107 3.583548 3.71368 3.706464 3.655842 3.628771
100 3.252183 3.157716 3.380782 3.363967 3.268857 3.219463
150 2.945057 2.839411 3.147688 3.112689 2.974622 2.936016
200 2.730471 2.596672 2.96052 2.888968 2.749777 2.678421
250 2.555376 2.403775 2.81106 2.768105 2.572656 2.530321
300 2.415736 2.28528 2.714011 2.657949 2.465335 2.389754
350 2.339601 2.163562 2.635677 2.575606 2.371085 2.307638
400 2.255569 2.090837 NaN 2.511941 2.306546 2.208344
450 2.212436 2.038478 NaN 2.46277 2.225079 2.177052
500 2.159543 1.993925 NaN 2.417539 2.202945 2.121474
550 2.15002 1.954396 NaN 2.396588 2.156066 2.093379
600 2.12705 1.937535 NaN 2.366157 2.160454 -
650 2.113777 1.923646 NaN 2.35525 2.122348 -
700 2.087843 1.889127 NaN 2.336311 2.123088 -
750 2.092721 1.891754 NaN 2.331139 2.107175 -
800 2.073064 1.891649 NaN 2.328095 2.09815 -
850 2.055595 1.889957 NaN 2.329383 2.08183 -
900 2.049203 1.861125 NaN 2.311277 2.083357 -
950 2.062967 1.870547 NaN 2.319238 2.077575 -
"""
LONG_CHECKPOINTS = """\
method,lr,seed,step,train_loss
softmax,0.001,0,0,4.1
softmax,0.001,0,500,2.6049
softmax,0.001,0,1000,2.1003
softmax,0.001,1,0,4.11
softmax,0.001,1,500,2.5945
softmax,0.001,1,1000,2.1022
softmax,0.003,0,0,4.1
softmax,0.003,0,500,2.3778
softmax,0.003,0,1000,1.7933
softmax,0.003,1,0,4.11
softmax,0.003,1,500,2.3691
softmax,0.003,1,1000,1.7989
softmax,0.01,0,0,4.1
softmax,0.01,0,500,nan
softmax,0.01,1,0,4.11
softmax,0.01,1,500,3.2816
softmax,0.01,1,1000,nan
window,0.001,0,0,4.1
window,0.001,0,500,2.6849
window,0.001,0,1000,2.204
window,0.001,1,0,4.11
window,0.001,1,500,2.6787
window,0.001,1,1000,2.2012
window,0.003,0,0,4.1
window,0.003,0,500,2.484
window,0.003,0,1000,1.9551
window,0.003,1,0,4.11
window,0.003,1,500,2.4987
window,0.003,1,1000,1.9569
window,0.01,0,0,4.1
window,0.01,0,500,2.4353
window,0.01,0,1000,1.891
window,0.01,1,0,4.11
window,0.01,1,500,2.4601
"""
PANDAS_INDEX = """\
,method,lr,seed,final_loss,initial_loss
0,softmax,0.001,0,1.8927,3.0
1,softmax,0.001,1,1.9099,3.0
2,softmax,0.001,2,1.8952,3.0
3,softmax,0.01,0,1.1965,3.0
4,softmax,0.01,1,1.1934,3.0
5,softmax,0.01,2,1.2009,3.0
6,softmax,0.1,0,2.5974,3.0
7,softmax,0.1,1,2.5907,3.0
8,softmax,0.1,2,2.5934,3.0
9,soft_capping,0.001,0,1.9478,3.0
10,soft_capping,0.001,1,1.9584,3.0
11,soft_capping,0.001,2,1.9435,3.0
12,soft_capping,0.01,0,1.2577,3.0
13,soft_capping,0.01,1,1.2453,3.0
14,soft_capping,0.01,2,1.2587,3.0
15,soft_capping,0.1,0,1.6069,3.0
16,soft_capping,0.1,1,1.6028,3.0
17,soft_capping,0.1,2,1.608,3.0
"""
OPTUNA_TRIALS = """\
,number,value,datetime_start,datetime_complete,duration,params_lr,user_attrs_seed,state
0,0,1.5,2026,2026,0 days,0.1,0,COMPLETE
1,1,1.2,2026,2026,0 days,0.2,0,COMPLETE
2,2,,2026,2026,0 days,0.4,0,FAIL
3,3,2.5,2026,2026,0 days,0.3,0,PRUNED
"""
RENAMED = """\
attention,learning_rate,random_seed,eval_loss,grad_norm,tokens_seen,gpu,note
vanilla,0.0001,11,3.0883,1.359,32768000,a100,
vanilla,0.0001,12,3.1112,0.989,32768000,a100,
vanilla,0.0001,13,3.095,0.928,32768000,a100,
vanilla,0.001,11,2.307,1.221,32768000,a100,
vanilla,0.001,12,2.2913,1.254,32768000,a100,
vanilla,0.001,13,2.3123,1.076,32768000,a100,
vanilla,0.01,11,2.7391,1.29,32768000,a100,
vanilla,0.01,12,2.7518,1.042,32768000,a100,
vanilla,0.01,13,2.7505,1.388,32768000,a100,
capped,0.0001,11,3.1462,1.175,32768000,a100,
capped,0.0001,12,3.1582,1.079,32768000,a100,
capped,0.0001,13,3.1586,1.326,32768000,a100,
capped,0.001,11,2.3406,1.238,32768000,a100,
capped,0.001,12,2.3528,1.339,32768000,a100,
capped,0.001,13,2.3586,1.193,32768000,a100,
capped,0.01,11,2.4078,1.003,32768000,a100,
capped,0.01,12,2.3933,1.021,32768000,a100,
capped,0.01,13,2.3951,1.256,32768000,a100,
"""


def wandb_runs() -> str:
    """A runs table of Weights & Biases, as CSV: cells quoted, newest first, settings with dots, measures with /."""
    header = ("Name,State,Notes,User,Tags,Created,Runtime,Sweep,method,optimizer.lr,optimizer.name,seed,"
              "trainer.max_steps,trainer.precision,_step,eval/perplexity,train/loss,val/loss,val/accuracy")  # fmt: skip
    rows = [[str(name) for name in header.split(",")]]
    for number, line in enumerate(_WANDB_RUNS.splitlines()):
        name, state, method, lr, seed, step, loss, held_out = (cell.strip("-") for cell in line.split())
        made = ["-", "lab", "", f"2026-05-04T{number % 24:02}:00:00.000Z", str(700 + number), "q7x2mzke"]
        rows.append([name, state, *made, method, lr, "adamw", seed, "2000", "bf16", step, "", loss, held_out, ""])
    return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)


def mlflow_runs() -> str:
    """What MLflow's search_runs gives, as pandas writes it: with an index; NaN is an empty cell, inf 1.797e308."""
    header = (",run_id,experiment_id,status,artifact_uri,start_time,end_time,metrics.final_loss,metrics.initial_loss,"
              "metrics.val_loss,params.lr,params.method,params.seed,params.optimizer,params.num_steps,"
              "tags.mlflow.source.name,tags.mlflow.runName")  # fmt: skip
    lines = [header]
    for number, line in enumerate(_MLFLOW_RUNS.splitlines()):
        name, state, method, lr, seed, final, initial, held_out = ("" if c == "-" else c for c in line.split())
        about = f"{number},{name},4,{state},(removed),2026-06-11 09:20:0{number % 10},"
        lines.append(f"{about},{final},{initial},{held_out},{lr},{method},{seed},adamw,1500,train.py,run-{number}")
    return "\n".join(lines) + "\n"


def wandb_chart() -> str:
    """A chart export of Weights & Biases: a row a step, three columns a run."""
    names = [f"{run} - train/loss{bound}" for run in _CHART_RUNS for bound in ("", "__MIN", "__MAX")]
    rows = [["Step", *names]]
    for line in _CHART.splitlines():
        step, *losses = line.split()
        rows.append([step, *itertools.chain.from_iterable([loss.strip("-")] * 3 for loss in losses)])
    return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)


def ray_results() -> str:
    """Ray Tune's result.json, a row an iteration: three trials, of which a scheduler stopped the last."""
    rows = [
        {"loss": 3 - at / 10 + lr, "training_iteration": at, "trial_id": f"t{lr}", "done": at == last, "pid": 7,
         "config": {"lr": lr, "seed": 0, "method": "softmax", "model": {"depth": 4}}}
        for lr, last in ((0.1, 9), (0.2, 9), (0.4, 3))
        for at in range(1, last + 1)
    ]  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)


# As the documentation of Weights & Biases exports runs: pandas of what its API returns, objects as Python prints them.
_CONFIG = "{{'lr': {}, 'seed': 0, 'model': {{'attention': 'softmax'}}}}"
_SUMMARY = "{{'train/loss': {}, '_step': {}}}"
_API_RUNS = (
    ("0.003", "1.85", 1999, "finished"),
    ("0.01", "nan", 1999, "finished"),
    ("0.001", "2.35", 140, "crashed"),
    ("0.001", "2.0", 1999, "finished"),
)
WANDB_API = ",summary,config,name,state\n" + "".join(
    f'{row},"{_SUMMARY.format(loss, step)}","{_CONFIG.format(lr)}",a-{row},{state}\n'
    for row, (lr, loss, step, state) in enumerate(_API_RUNS)
)
# As MLflow's page downloads what it shows.
MLFLOW_PAGE = """\
Start Time,Duration,Run ID,Name,Source Type,Source Name,User,Status,lr,method,seed,final_loss,initial_loss
2026-06-11 09:20,3s,a0,run-0,LOCAL,train.py,lab,FINISHED,0.1,softmax,0,1.5,4
2026-06-11 09:21,3s,a1,run-1,LOCAL,train.py,lab,FAILED,0.2,softmax,0,3.5,4
2026-06-11 09:22,3s,a2,run-2,LOCAL,train.py,lab,FINISHED,0.2,softmax,1,1.25,4
2026-06-11 09:23,3s,a3,run-3,LOCAL,train.py,lab,RUNNING,0.4,softmax,0,2.5,4
2026-06-11 09:24,3s,a4,run-4,LOCAL,train.py,lab,FINISHED,0.4,softmax,1,,4
"""
# As Optuna's dashboard downloads a study.
OPTUNA_DASHBOARD = """\
Number,State,Value,Param lr,UserAttribute seed
0,COMPLETE,1.5,0.1,0
1,COMPLETE,1.25,0.2,0
2,FAIL,,0.4,0
3,PRUNED,2.5,0.3,0
"""
# A file of each of FORMATS, by its name: its text, and what has to be said of it beside.
EXAMPLES: dict[str, tuple[str, dict]] = {
    "wandb runs": (wandb_runs(), {}),
    "mlflow runs": (mlflow_runs(), {}),
    "mlflow page": (MLFLOW_PAGE, {}),
    "optuna trials": (OPTUNA_TRIALS, {"constants": {"method": "softmax"}}),
    "optuna dashboard": (OPTUNA_DASHBOARD, {"constants": {"method": "softmax", "initial_loss": "3"}}),
    "ray results": (ray_results(), {}),
    "wandb api": (WANDB_API, {}),
    "tensorboard": ("Wall time,Step,Value\n1.5,0,4.0\n2.5,10,3.0\n3.5,20,2.5\n",
                    {"constants": {"method": "softmax", "lr": "0.1", "seed": "0"}}),
    "wandb chart": (wandb_chart(), {"run_names": "{method}-lr{lr}-s{seed}"}),
    "long": ("tag,step,value\nloss,0,4\nloss,9,3\n", {"constants": {"method": "a", "lr": "0.1", "seed": "0"}}),
    "lists": ('method,lr,seed,step,loss\na,0.1,0,"[0, 9]","[4, 3]"\na,0.2,0,"[0, 9]","[4, nan]"\n', {}),
    "checkpoints": (LONG_CHECKPOINTS, {}),
    "tidy": (PANDAS_INDEX, {}),
}  # fmt: skip
_ONE = {"constants": {"method": "a", "lr": "0.1", "seed": "0"}}
_BY_STEP = [{"step": step, "loss": 4 - step} for step in (0, 1)]
_RUN = {"method": "a", "lr": 0.1, "seed": 0, "final_loss": 2.5, "initial_loss": 4}
# Shapes of one document or table that are made into one of FORMATS, with what has to be said of them beside.
SHAPES: dict[str, tuple[str, dict]] = {
    "points": ("[[17.5, 0, 4.0], [18.5, 9, 2.5]]", _ONE),
    "metrics": ('{"loss": {"steps": [0, 9], "timestamps": ["x", "y"], "values": [4.0, 2.5]}}', _ONE),
    "runs by name": (json.dumps({"x": _RUN, "y": _RUN | {"seed": 1, "note": "n"}}), {"ignored": ["run", "note"]}),
    "histories": (json.dumps([{"config": {"lr": lr, "seed": 0}, "history": _BY_STEP} for lr in (1, 2)]),
                  {"constants": {"method": "a"}}),
    "log of a trainer": (json.dumps({"step": 1, "log_history": [*_BY_STEP, {"step": 1, "train_loss": 3}]}), _ONE),
    "overrides": ("overrides,loss,initial_loss\n\"['attn=a','+lr=0.1','seed=0']\",2.5,4\n",
                  {"columns": {"method": "overrides/attn", "lr": "overrides/lr", "seed": "overrides/seed"}}),
    "Markdown": ("| method | lr | seed | loss | initial_loss |\n|-|-:|-|-|-|\n| a | 0.1 | 0 | 2.5 | 4 |\n", {}),
    "decimal commas": ('"sep=;"\nmethod;lr;seed;loss;initial_loss;diverged\na;0,1;0;1.234,5;4,0;False\n', {}),
}  # fmt: skip
