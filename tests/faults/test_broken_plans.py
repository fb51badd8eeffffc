"""Broken suites, continued: searches, sweeps, and the parameters of methods, optimizers and schedules."""

import pytest

from tests.faults.test_broken_suites import assert_reported

IN_CONTEXT = "{name: in_context_regression, num_steps: 50}"
DENSE = "{log: [1e-9, 1], per_decade: [1, 2, 3, 4, 5, 6, 7, 8, 9]}"
LANGUAGE = "{name: language_modeling, num_steps: 50, "

# What replaces what in GOOD, where the error stands, and what it says.
EDITS = {
    "unknown search": ("seeds: 3", "seeds: 3\nsearch: edgy", "14:9", "unknown search 'edgy'; did you mean 'edge'?"),
    "search a number": ("seeds: 3", "seeds: 3\nsearch: 3", "14:9", "search must be a mapping, got 3"),
    "search a list": ("seeds: 3", "seeds: 3\nsearch: [edge]", "14:9", "search must be a mapping, got a list"),
    "search without a name": ("seeds: 3", "seeds: 3\nsearch: {budget: 5}", "14:9", "name is required"),
    "search budget zero": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, budget: 0}",
        "14:30",
        "budget must be greater than or equal to 1, got 0",
    ),
    "search budget a fraction": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, budget: 2.5}",
        "14:30",
        "budget must be a whole number written without a point, got 2.5",
    ),
    "search with an unknown parameter": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, budgt: 5}",
        "14:29",
        "unknown parameter 'budgt' of search 'edge'; did you mean 'budget'?",
    ),
    "search of an unknown knob": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, knob: lrr}",
        "14:28",
        "knob 'lrr' can't be searched; did you mean 'lr'?",
    ),
    "search over a knob that is not swept": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, knob: warmup_steps}",
        "14:28",
        "knob 'warmup_steps' can't be searched; knobs that can be searched: lr, weight_decay,",
    ),
    "search with a range of its own": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, low: 0.1}",
        "14:27",
        "low comes from the knob's values; remove it",
    ),
    "search with seeds of its own": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, seeds: 3}",
        "14:29",
        "seeds comes from the suite's seeds; remove it",
    ),
    "search of no minutes": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, gpu_minutes: 0}",
        "14:35",
        "gpu_minutes must be greater than 0, got 0",
    ),
    "search of infinite minutes": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, gpu_minutes: .inf}",
        "14:35",
        "gpu_minutes must be a finite number, got .inf",
    ),
    "search on grid a word": (
        "seeds: 3",
        "seeds: 3\nsearch: {name: edge, on_grid: maybe}",
        "14:31",
        "on_grid must be true or false, got 'maybe'",
    ),
    "search twice": (
        "seeds: 3",
        "seeds: 3\nsearch: edge\nsearch: tune",
        "15:1",
        "duplicate key 'search'; remove it or the first one, on line 14",
    ),
    "adamw beta one": ("[sgd]", "[{name: adamw, beta2: 1}]", "8:35", "beta2 must be less than 1, got 1"),
    "adamw beta negative": (
        "[sgd]",
        "[{name: adamw, beta1: -0.1}]",
        "8:35",
        "beta1 must be greater than or equal to 0, got -0.1",
    ),
    "adamw eps zero": ("[sgd]", "[{name: adamw, eps: 0}]", "8:33", "eps must be greater than 0, got 0"),
    "adamw eps negative": ("[sgd]", "[{name: adamw, eps: -1e-8}]", "8:33", "eps must be greater than 0, got -1e-08"),
    "adamw unknown parameter": (
        "[sgd]",
        "[{name: adamw, betas: [0.9, 0.95]}]",
        "8:28",
        "unknown parameter 'betas' of optimizer 'adamw'; did you mean 'beta2'?",
    ),
    "muon no iterations": (
        "[sgd]",
        "[{name: muon, num_iterations: 0}]",
        "8:43",
        "num_iterations must be greater than or equal to 1, got 0",
    ),
    "optimizers empty": ("[sgd]", "[]", "8:13", "optimizers must not be empty, got an empty list"),
    "optimizers null": ("[sgd]", "", "8:1", "optimizers must be a list, got nothing"),
    "decay for an optimizer that has none": (
        "[sgd]\nschedules: [constant]\nknobs:",
        "[adafactor]\nschedules: [constant]\nknobs:\n  weight_decay: [0, 0.1]",
        "11:3",
        "weight_decay has no effect with optimizer 'adafactor' (optimizers[0]); remove one of them",
    ),
    "schedules empty": ("[constant]", "[]", "9:12", "schedules must not be empty, got an empty list"),
    "schedule fraction above one": (
        "[constant]",
        "[{name: cosine, final_fraction: 1.5}]",
        "9:44",
        "final_fraction must be less than or equal to 1, got 1.5",
    ),
    "schedule fraction negative": (
        "[constant]",
        "[{name: linear, final_fraction: -0.5}]",
        "9:44",
        "final_fraction must be greater than or equal to 0, got -0.5",
    ),
    "schedule twice": ("[constant]", "[cosine, cosine]", "9:21", "cosine is listed twice; remove one (line 9)"),
    "schedule gamma zero": ("[constant]", "[{name: step, gamma: 0}]", "9:33", "gamma must be greater than 0, got 0"),
    "schedule of no drops": (
        "[constant]",
        "[{name: step, num_drops: 0}]",
        "9:37",
        "num_drops must be greater than or equal to 1, got 0",
    ),
    "schedule timescale zero": (
        "[constant]",
        "[{name: inverse_sqrt, timescale: 0}]",
        "9:45",
        "timescale must be greater than 0, got 0",
    ),
    "schedule decay fraction zero": (
        "[constant]",
        "[{name: wsd, decay_fraction: 0}]",
        "9:41",
        "decay_fraction must be greater than 0, got 0",
    ),
    "window wider than text": (
        "width: 4",
        "width: 1e3",
        "7:35",
        "width must be a whole number written without a point, got 1000.0",
    ),
    "capping at zero": ("- softmax", "- {name: soft_capping, cap: 0}", "6:31", "cap must be greater than 0, got 0"),
    "capping infinite": (
        "- softmax",
        "- {name: soft_capping, cap: .inf}",
        "6:31",
        "cap must be a finite number, got .inf",
    ),
    "clip threshold negative": (
        "- softmax",
        "- {name: qk_clip, tau: -1}",
        "6:26",
        "tau must be greater than 0, got -1",
    ),
    "no random features": (
        "- softmax",
        "- {name: favor_plus, num_features: 0}",
        "6:38",
        "num_features must be greater than or equal to 1, got 0",
    ),
    "kernel eps negative": (
        "- softmax",
        "- {name: relu_kernel, eps: -1e-6}",
        "6:30",
        "eps must be greater than or equal to 0, got -1e-06",
    ),
    "gamma clipped to zero": (
        "- softmax",
        "- {name: qk_layernorm_weight_clipped, max_gamma: 0}",
        "6:52",
        "max_gamma must be greater than 0, got 0",
    ),
    "knob of an optimizer twice": (
        "warmup_steps: 0",
        "beta2: [0.9, 0.9]",
        "12:16",
        "0.9 is listed twice; remove one (line 12)",
    ),
    "knob of a workload that has none": ("warmup_steps: 0", "dropout: [0.1, 0.2]", "12:3", "unknown knob 'dropout'"),
    "knob of no optimizer here": ("warmup_steps: 0", "momentum: [0.5, 0.9]", "12:3", "unknown knob 'momentum'"),
    "weight decay negative": (
        "warmup_steps: 0",
        "weight_decay: -0.1",
        "12:17",
        "weight_decay must be greater than or equal to 0, got -0.1",
    ),
    "weight decay text": (
        "warmup_steps: 0",
        "weight_decay: strong",
        "12:17",
        "weight_decay must be a number, got 'strong'",
    ),
    "clipping negative": ("warmup_steps: 0", "grad_clip: -1", "12:14", "grad_clip must be greater than 0, got -1"),
    "initial scale infinite": (
        "warmup_steps: 0",
        "init_scale: .inf",
        "12:15",
        "init_scale must be a finite number, got .inf",
    ),
    "warmup a grid from zero": (
        "warmup_steps: 0",
        "warmup_steps: {log: [0, 10], per_decade: [1]}",
        "12:24",
        "log[0] must be greater than 0, got 0",
    ),
    "crossed knobs too large": (
        "warmup_steps: 0",
        f"weight_decay: {DENSE}\n  grad_clip: {DENSE}\n  init_scale: {DENSE}",
        "12:17",
        "82 weight_decay x 82 grad_clip x 82 init_scale = 29,773,872 trials; a suite must have at most 1,000,000",
    ),
    "a knob as a mapping": ("warmup_steps: 0", "warmup_steps: {from: 0, to: 10}", "12:18", "unknown key 'from'"),
    "a path as a method": ("- softmax", "- ../evil.py", "6:5", "unknown method '../evil.py'"),
    "an environment variable": ("- softmax", "- $HOME", "6:5", "unknown method '$HOME'"),
    "seeds a range": ("seeds: 3", "seeds: 0-4", "13:8", "seeds must be a count or a list of whole numbers, got '0-4'"),
    "seeds a mapping": (
        "seeds: 3",
        "seeds: {from: 0}",
        "13:8",
        "seeds must be a count or a list of whole numbers, got a mapping",
    ),
    "probe_every null": ("probe_every: 10", "probe_every:", "14:1", "probe_every must be a whole number, got nothing"),
    "probe_every text": (
        "probe_every: 10",
        "probe_every: often",
        "14:14",
        "probe_every must be a whole number, got 'often'",
    ),
    "probe_every negative": (
        "probe_every: 10",
        "probe_every: -1",
        "14:14",
        "probe_every must be greater than or equal to 1, got -1",
    ),
    "description null": ("a good suite, before it is broken", "", "2:1", "description must be text, got nothing"),
    "description a list": ("a good suite, before it is broken", "[a]", "2:14", "description must be text, got a list"),
    "description too long": (
        "a good suite, before it is broken",
        "a" * 2001,
        "2:14",
        "description must have at most 2000 characters",
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_broken_plan_is_reported_where_it_stands(case, tmp_path):
    assert_reported(EDITS[case], tmp_path)
