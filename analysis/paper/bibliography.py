"""What to cite: BibTeX keys of methods, optimizers, workloads, models, scores, samplers, statistics and more, by name.

The entries are in references/sources.bib; fields that could not be checked are left out there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from analysis.scores.registry import REGISTRY
from analysis.text import entry_name
from bench.entry import load_class
from bench.interventions import INTERVENTIONS
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.trial import UNNAMED
from bench.workloads import WORKLOADS

Keys = tuple[str, ...]

THIS_PROJECT = "this project"
OWN_KEY = "attentionrobustnessbench"
OWN_CODE = "the suite's own code: add its source"
_EQUAL_VARIANCES: Keys = ("pitman1939note", "morgan1939test")  # of paired samples

# Whose classes carry their keys as `sources`; where they have none, `source` says what they are instead.
ENTRIES: dict[str, dict[str, str]] = {
    "method": METHODS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "workload": WORKLOADS,
    "intervention": INTERVENTIONS,
}

# Presets of a workload's parameter `model`, which say more than the workload's name.
MODEL_SOURCES: dict[str, Keys] = {
    **dict.fromkeys(("gpt_1m", "gpt_10m", "gpt2_124m"), ("radford2019language",)),
    **dict.fromkeys(("wortsman_2m", "wortsman_10m"), ("wortsman2024small",)),
    **dict.fromkeys(("llama_1m", "llama_1b"), ("touvron2023llama",)),
    **dict.fromkeys(("vit_digits", "vit_tiny"), ("dosovitskiy2021image",)),
    **dict.fromkeys(("vaswani_1m", "vaswani_6m", "vaswani_base"), ("vaswani2017attention",)),
}

# Values of the setting `norm_placement`.
PLACEMENT_SOURCES: dict[str, Keys] = {
    "peri": ("kim2025periln",),
    **dict.fromkeys(("deepnorm", "deepnorm_torchscale"), ("wang2022deepnet",)),
    "admin": ("liu2020understanding",),
}

# Of analysis.scores, analysis.across and the theory that figures draw.
STATISTIC_SOURCES: dict[str, Keys] = {
    "jackknife": ("efron1981jackknife",),
    "crossed_samples": ("cornfield1956average", "satterthwaite1946approximate"),
    "explained_variance": ("hays1963statistics",),
    "unseen_cliffs": ("johnson1940applications",),
    "holm": ("holm1979simple",),
    "paired_shares": ("newcombe1998improved",),
    "rank_agreement": ("spearman1904proof", "kendall1945treatment"),
    "rank_ranges": ("mogstad2024inference",),
    "equal_variances": _EQUAL_VARIANCES,
    "unequal_variances": ("welch1947generalization",),
    "performance_profile": ("dolan2002benchmarking", "agarwal2021precipice"),
    "profile_integral": ("dahl2023benchmarking",),
    "critical_difference": ("demsar2006statistical",),
    "entropy_of_softmax": ("hong2025variance",),
    "early_warning": ("boettiger2012early", "wilson1927probable"),
    "gradient_z_score": ("kumar2025zclip",),
    "edges_of_seeds": ("severini2002exact",),
    "entropy_range": ("harremoes2001inequalities",),
}

_SOBOL: Keys = ("sobol1967distribution", "owen1998scrambling", "matousek1998discrepancy")
_RANDOM: Keys = ("bergstra2012random",)

# Samplers of searches, designs of boxes, evaluators of importance, and rules that prune, as suites name them.
SAMPLER_SOURCES: dict[str, Keys] = {
    "tpe": ("bergstra2011algorithms", "watanabe2023tpe"),
    "gp": ("ament2023unexpected",),
    "cmaes": ("hansen2001completely",),
    "nsga2": ("deb2002fast",),
    "random": _RANDOM,
    "qmc": _SOBOL,
}
DESIGN_SOURCES: dict[str, Keys] = {"qmc": _SOBOL, "random": _RANDOM}
EVALUATOR_SOURCES: dict[str, Keys] = {"fanova": ("hutter2014efficient",), "ped_anova": ("watanabe2023pedanova",)}
PRUNER_SOURCES: dict[str, Keys] = {
    "median": ("golovin2017vizier",),
    "halving": ("jamieson2016nonstochastic", "li2020asha"),
    "hyperband": ("li2018hyperband",),
    "wilcoxon": ("wilcoxon1945individual",),
}

# Of all that is no entry of ENTRIES.
SOURCES: dict[str, dict[str, Keys]] = {
    "model": MODEL_SOURCES,
    "norm_placement": PLACEMENT_SOURCES,
    "score": {name: score.sources for name, score in REGISTRY.items()},
    "statistic": STATISTIC_SOURCES,
    "program": {"optuna": ("akiba2019optuna",)},
    "sampler": SAMPLER_SOURCES,
    "design": DESIGN_SOURCES,
    "evaluator": EVALUATOR_SOURCES,
    "pruner": PRUNER_SOURCES,
}

_FILE = Path(__file__).parents[1] / "references" / "sources.bib"


def keys_of(kind: str, label: str) -> Keys:
    """BibTeX keys of what a label of this kind of ENTRIES or SOURCES names; none of what is uncited or not ours."""
    name = entry_name(label)
    if kind in SOURCES:
        return SOURCES[kind].get(name, ())
    return load_class(ENTRIES[kind][name]).sources if name in ENTRIES[kind] else ()


def keys_of_workload(entry: Mapping[str, Any]) -> Keys:
    """BibTeX keys of a workload with its parameters: of what it learns, and of its `model`, not of models it is not."""
    keys = keys_of("workload", str(entry["name"]))
    if "model" not in entry:
        return keys
    of_models = {key for of_model in MODEL_SOURCES.values() for key in of_model}
    return (*(key for key in keys if key not in of_models), *keys_of("model", str(entry["model"])))


def why_uncited(kind: str, label: str) -> str | None:
    """Why what a label names has nothing to cite; None where it has, or is not ours."""
    name = entry_name(label)
    if keys_of(kind, label) or name not in {**ENTRIES, **SOURCES}[kind]:
        return None
    return load_class(ENTRIES[kind][name]).source if kind in ENTRIES else THIS_PROJECT


def uncited_in(results: pl.DataFrame, reason: str) -> dict[str, str]:
    """The labels in results that have no source: what each says itself, or else the reason."""
    texts: dict[str, str] = {}
    for kind in ENTRIES:
        named = results.filter(pl.col(kind) != UNNAMED[kind])[kind]
        texts |= without_keys(kind, named.unique().sort(), reason)
    return texts


def without_keys(kind: str, labels: Iterable[str], reason: str) -> dict[str, str]:
    """The labels of a kind that have no source: what each says itself, or else the reason."""
    return {label: why_uncited(kind, label) or reason for label in labels if not keys_of(kind, label)}


def scores_in(frame: pl.DataFrame) -> list[str]:
    """The scores that a frame has a number of: in a column of the score's name, or in `value`, named by `score`."""
    names = [column.name for column in frame if column.is_not_null().any()]
    if {"score", "value"} <= set(frame.columns):
        names.extend(frame.filter(pl.col("value").is_not_null())["score"].unique(maintain_order=True))
    return [name for name in names if name in REGISTRY]


def bib_entries() -> dict[str, str]:
    """BibTeX text by key: all that sources.bib holds."""
    texts = re.findall(r"^@\w+\{.*?^\}$", _FILE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {text.partition("{")[2].partition(",")[0]: text for text in texts}


def own_entry(manifest: Mapping[str, Any]) -> str:
    """BibTeX text of this program, under OWN_KEY: the version that trained the results, and the year, if known."""
    fields = {
        "author": "{The contributors of attention-robustness-bench}",
        "title": "attention-robustness-bench: How Robust Is an Attention Method to Its Hyperparameters?",
        "version": str(manifest.get("bench", "")),
        "year": str(manifest.get("written", ""))[:4],
    }
    lines = [f"  {name:<9} = {{{text}}}" for name, text in fields.items() if text]
    return "\n".join([f"@software{{{OWN_KEY},", ",\n".join(lines), "}"])


def bibtex(keys: Iterable[str], manifest: Mapping[str, Any]) -> str:
    """The entries of these keys, each once, in alphabetical order of the keys; this program's is that of a manifest."""
    entries = bib_entries() | {OWN_KEY: own_entry(manifest)}
    return "\n\n".join(entries[key] for key in sorted(set(keys))) + "\n"
