"""The ranges of knobs that commands draw or search together, for one method, without a suite file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.errors import UsageError
from bench.suite.fields import Context
from bench.suite.suite import Suite

# By knob; warmup reaches up to half of the steps.
RANGES: dict[str, Any] = {
    "lr": {"log": [1e-4, 1.0]},
    "warmup_steps": {"int": [0, 0]},
    "weight_decay": {"log": [1e-5, 1.0], "zero": 0.1},
    "grad_clip": {"log": [0.1, 10.0], "off": 0.25},
    "init_scale": {"log": [0.3, 3.0]},
}


def knob_names(text: str) -> list[str]:
    """The knobs of RANGES that `--knobs` names, with commas between. Raises UsageError for others, none, one twice."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in RANGES]
    if unknown or not names:
        got = unknown[0] if unknown else text
        raise UsageError(f"--knobs {got!r}: required some of {', '.join(RANGES)}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--knobs {text!r}: names {twice} twice; required each once")
    return names


def suite_of_ranges(plain: Mapping[str, Any], names: Sequence[str], context: Context) -> Suite:
    """The suite with a box of these knobs over RANGES; one that `plain` has in its box keeps that range.

    Raises UsageError for what else of the suite is wrong.
    """
    box = {name: RANGES[name] for name in names} | dict(plain.get("box", {}))
    whole = {**plain, "box": box, "knobs": {} if "lr" in names else {"lr": 1e-3}}
    if "warmup_steps" in names:
        entries = {"name": plain["name"], "workloads": plain["workloads"], "methods": plain["methods"]}
        probe = {**entries, "optimizers": plain["optimizers"], "knobs": {"lr": 1e-3}, "seeds": 1, "probe_every": 1}
        num_steps = Suite.model_validate(probe, context=context).workloads[0].params["num_steps"]
        box["warmup_steps"] = {"int": [0, max(num_steps // 2, 1)]}
    return Suite.model_validate(whole, context=context)
