"""The manifest of a suite run: what ran, with which versions, on what, and how to run it again."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import bench
from bench.entry import build
from bench.errors import ENTRY_ERRORS
from bench.lazy import torch
from bench.methods import METHODS
from bench.methods.base import Method
from bench.methods.fast.tiny import has_kernels, tiny_pays
from bench.store import records
from bench.suite import Suite
from bench.suite.kinds import ENTRY_FIELDS
from bench.training.fused.trainer import knows
from bench.training.inductor import Compiling
from bench.training.lane import LaneProgram
from bench.training.step_cost import step_cost
from bench.trial import TRIAL_VERSION, Trial, canonical_json
from bench.workloads import WORKLOADS
from bench.workloads.base import AttentionLayer, Workload

PACKAGES = ("torch", "triton", "ray", "mlflow", "optuna", "polars", "numpy", "altair", "pydantic")


def manifest(
    suite: Suite, *, device: str, has_gpu: bool, is_reference: bool = False, compiling: Compiling = "auto"
) -> dict[str, Any]:
    """Plain data for JSON. Of the environment it names versions and hardware, never paths, users or variables.

    device, has_gpu: what packs train on, in words, and whether those are GPUs.
    """
    plain = suite.model_dump(mode="json")
    if suite.search is None:
        del plain["search"]
    return {
        "manifest_version": records.MANIFEST_VERSION,
        "suite": plain,
        "suite_sha256": hashlib.sha256(canonical_json(plain).encode()).hexdigest(),
        "num_trials": suite.num_trials,
        "seeds": list(suite.seeds),
        **({"plug_ins": plug_ins} if (plug_ins := packages_of_plug_ins(suite)) else {}),
        "data_sha256": {choice.label: choice.digest for choice in suite.entries["workloads"] if choice.digest},
        "data_facts": data_facts(suite),
        "trial_version": TRIAL_VERSION,
        "bench": bench.__version__,
        "git": git_state(Path(bench.__file__).parent),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "device": device,
        "cpu": f"{platform.machine()}, {os.cpu_count()} cores",
        "system": platform.system(),
        "costs": costs(suite),
        "attention": attention_paths(suite, has_gpu=has_gpu, is_reference=is_reference),
        **({"layers": layers} if (layers := named_layers(suite)) else {}),
        "steps": step_paths(suite, has_gpu=has_gpu, is_reference=is_reference, compiling=compiling),
        "compiling": compiling,
        "precision": "float32, TF32 off; bfloat16 autocast where a workload's `precision` says so",
        "determinism": determinism(),
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def data_facts(suite: Suite) -> dict[str, dict[str, Any]]:
    """What workloads say of their data, by label; of those that say anything."""
    by_label = {choice.label: build(WORKLOADS, choice).data_facts() for choice in suite.entries["workloads"]}
    return {label: facts for label, facts in by_label.items() if facts}


def num_cpus(manifest: Mapping[str, Any]) -> int | None:
    """CPUs on which packs trained, each one at a time; None if they trained on GPUs, or the manifest does not say."""
    count = re.fullmatch(r"(\S+) CPU", str(manifest["device"])) if "device" in manifest else None
    return int(float(count[1])) if count else None


def determinism() -> dict[str, Any]:
    """What torch is told about choosing algorithms; data and initial weights follow from seed and step alone."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cuda_matmul_allow_tf32": cuda.matmul.allow_tf32,
        "cudnn_allow_tf32": cudnn.allow_tf32,
        "cudnn_deterministic": cudnn.deterministic,
        "cudnn_benchmark": cudnn.benchmark,
    }


def attention_paths(suite: Suite, *, has_gpu: bool, is_reference: bool) -> dict[str, dict[str, str]]:
    """How attention was computed, by label of workload and method: sdpa, linear, tiny, or dense (the reference).

    Of a workload whose stacks of layers differ, the path of each; of cross-attention, whether it is plain softmax.
    """
    paths: dict[str, dict[str, str]] = {}
    for trial in suite.expand():
        by_method = paths.setdefault(trial.workload.label, {})
        if trial.method.label not in by_method:
            workload: Workload = build(WORKLOADS, trial.workload)
            method: Method = build(METHODS, trial.method)
            device = "cuda" if has_gpu else "cpu"
            by_stack = {
                one.layer.stack: "dense" if is_reference else _path(method, one, device, is_mixed=workload.is_mixed)
                for one in workload.attention_layers
            }
            crossed = {one.layer.stack for one in workload.attention_layers if one.is_cross}
            words = {"own": "", "softmax": " (plain softmax)"}[method.in_cross]
            texts = [f"{stack} {path}{words if stack in crossed else ''}" for stack, path in by_stack.items()]
            by_method[trial.method.label] = "; ".join(texts) if len(by_stack) > 1 else by_stack.popitem()[1]
    return paths


def _path(method: Method, one: AttentionLayer, device: str, *, is_mixed: bool) -> str:
    is_restricted = type(method).restrict is not Method.restrict and not (one.is_cross and method.in_cross == "softmax")
    has_tiny = not is_mixed and tiny_pays(one.heads) and has_kernels(device)
    return method.fast_path(one.heads, "custom" if is_restricted else one.kind, has_tiny=has_tiny)


def named_layers(suite: Suite) -> dict[str, list[str]]:
    """`layers_by_stack` by label of workload, of those that have several stacks."""
    layers = {choice.label: layers_by_stack(build(WORKLOADS, choice)) for choice in suite.entries["workloads"]}
    return {label: lines for label, lines in layers.items() if len(lines) > 1}


def layers_by_stack(workload: Workload) -> list[str]:
    """Each stack of layers of attention in a line, in the order of the numbers that traces have for them."""
    layers = workload.attention_layers
    lines = []
    for stack in dict.fromkeys(one.layer.stack for one in layers):
        indices = [index for index, one in enumerate(layers) if one.layer.stack == stack]
        first = layers[indices[0]]
        of = "cross-attention" if first.is_cross else f"{first.kind} attention"
        shape = f"{first.heads.num_heads} heads of width {first.heads.width}"
        ends = f"layers {indices[0]} to {indices[-1]}" if len(indices) > 1 else f"layer {indices[0]}"
        lines.append(f"{ends}: {stack}, {of}, {shape}, {first.num_queries} queries, {first.heads.num_keys} keys")
    return lines


def step_paths(
    suite: Suite, *, has_gpu: bool, is_reference: bool, compiling: Compiling
) -> dict[str, dict[str, dict[str, str]]]:
    """How steps were computed, by label of workload, method and optimizer: fused, or traced.

    fused: by the program of bench.training.fused, whose attention is its own; of it `attention` names what probes saw.
    """
    paths: dict[str, dict[str, dict[str, str]]] = {}
    device = torch.device("cuda" if has_gpu else "cpu")
    for trial in suite.expand():
        by_optimizer = paths.setdefault(trial.workload.label, {}).setdefault(trial.method.label, {})
        if trial.optimizer.label not in by_optimizer:
            try:
                program = LaneProgram.of(trial, is_reference=is_reference)
            except ENTRY_ERRORS:  # an entry that can't train says so as an outcome of its trials
                continue
            is_fused = compiling != "always" and knows(program, device, torch.float32)
            by_optimizer[trial.optimizer.label] = "fused" if is_fused else "traced"
    return paths


def costs(suite: Suite) -> list[dict[str, Any]]:
    """workload, method (labels), num_parameters and step_flops of each pair; not of those that knobs vary."""
    first: dict[tuple[str, str], Trial] = {}
    for trial in suite.expand():
        if not trial.workload.swept and not trial.method.swept:
            first.setdefault((trial.workload.label, trial.method.label), trial)
    rows = []
    for (workload, method), trial in first.items():
        try:
            cost = dataclasses.asdict(step_cost(trial))
        except ENTRY_ERRORS:  # an entry that can't train says so as an outcome of its trials
            continue
        rows.append({"workload": workload, "method": method, **cost})
    return rows


def git_state(folder: Path) -> str:
    """Commit of the program, with "+changes" where the working tree differs; "not a git checkout" elsewhere."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "not a git checkout"


def packages_of_plug_ins(suite: Suite) -> dict[str, str]:
    """Package and version of each entry that an installed package declares, by label."""
    own = [(ENTRY_FIELDS[field].plug_in_at(choice.name), choice) for (field, _), choice in suite.own_entries.items()]
    return {choice.label: plug_in.package for plug_in, choice in own if plug_in is not None}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
