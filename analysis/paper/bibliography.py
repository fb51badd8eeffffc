"""What to cite: BibTeX keys of every method, optimizer, schedule, workload, model, score and statistic, by name.

The entries are in references/sources.bib; fields that could not be checked are left out there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from analysis.scores.registry import REGISTRY
from analysis.text import entry_name

Keys = tuple[str, ...]

_HONG_LEE = "hong2025variance"
_WORTSMAN = "wortsman2024small"
_ZHAI = "zhai2023stabilizing"
_NORMSOFTMAX = "jiang2023normsoftmax"
_EQUAL_VARIANCES: Keys = ("pitman1939note", "morgan1939test")  # of paired samples

METHOD_SOURCES: dict[str, Keys] = {
    "softmax": ("vaswani2017attention",),
    "softmax_control": ("vaswani2017attention",),
    "window_softmax": (_HONG_LEE,),
    "relu_kernel": (_HONG_LEE,),
    "elu_kernel": (_HONG_LEE, "katharopoulos2020transformers"),
    "sigmoid_kernel": (_HONG_LEE,),
    "qk_layernorm_free": (_HONG_LEE, "dehghani2023scaling"),
    "qk_layernorm_fixed": (_HONG_LEE, "dehghani2023scaling"),
    "qk_layernorm_weight_clipped": (_HONG_LEE, "dehghani2023scaling"),
    "qk_layernorm_gradient_clipped": (_HONG_LEE, "dehghani2023scaling"),
    "sigma_reparam": (_ZHAI,),
    "sigma_reparam_qk": (_HONG_LEE, _ZHAI),
    "spectral_norm": ("miyato2018spectral", _ZHAI),
    "spectral_norm_qk": ("miyato2018spectral", _ZHAI),
    "weight_norm": ("salimans2016weight", _ZHAI),
    "weight_norm_qk": ("salimans2016weight", _ZHAI),
    "qk_norm": ("henry2020qknorm",),
    "qk_clip": ("kimi2025k2",),
    "soft_capping": ("gemma2024gemma2", "bello2016neural"),
    "norm_softmax": (_NORMSOFTMAX,),
    "norm_softmax_bounded": ("hoffmann2024eureka", _NORMSOFTMAX),
    "lipschitz_norm": ("dasoulas2021lipschitz",),
    "l2_attention": ("kim2021lipschitz",),
    "log_n_scaling": ("nakanishi2025scalable", "chiang2022overcoming"),
    "softmax_one": ("miller2023attention", "kaul2025attention"),
    "sigmoid_attention": ("ramapuram2025sigmoid",),
    "gated_attention": ("qiu2025gated",),
    "cosformer": ("qin2022cosformer",),
    "favor_plus": ("choromanski2021performers",),
    **dict.fromkeys(("thermostat_logits", "thermostat_loss"), ("thermostat2026",)),
}

OPTIMIZER_SOURCES: dict[str, Keys] = {
    "sgd": ("robbins1951stochastic",),
    "sgd_momentum": ("polyak1964some",),
    "sgd_nesterov": ("nesterov1983method", "sutskever2013importance"),
    "rmsprop": ("tieleman2012rmsprop",),
    "adam": ("kingma2015adam",),
    "adamw": ("loshchilov2019decoupled",),
    "adamw_independent": ("loshchilov2019decoupled", _WORTSMAN),
    "adafactor": ("shazeer2018adafactor",),
    "lamb": ("you2020large",),
    "lion": ("chen2023lion",),
    "schedule_free_adamw": ("defazio2024road",),
    "muon": ("jordan2024muon",),
    "shampoo": ("gupta2018shampoo", "anil2020scalable", "guo2006schur"),
}

SCHEDULE_SOURCES: dict[str, Keys] = {
    "linear": ("devlin2019bert",),
    "cosine": ("loshchilov2017sgdr",),
    "inverse_sqrt": ("vaswani2017attention",),
    "step": ("he2016residual",),
    "wsd": ("hu2024minicpm", "hagele2024scaling"),
}

WORKLOAD_SOURCES: dict[str, Keys] = {
    "in_context_regression": (_HONG_LEE, "ahn2024linear"),
    "language_modeling": ("radford2019language", "touvron2023llama", _WORTSMAN),
    "image_classification": ("dosovitskiy2021image",),
}

# Presets of a workload's parameter `model`, which say more than the workload's name.
MODEL_SOURCES: dict[str, Keys] = {
    **dict.fromkeys(("gpt_1m", "gpt_10m", "gpt2_124m"), ("radford2019language",)),
    **dict.fromkeys(("wortsman_2m", "wortsman_10m"), (_WORTSMAN,)),
    **dict.fromkeys(("llama_1m", "llama_1b"), ("touvron2023llama",)),
    **dict.fromkeys(("vit_digits", "vit_tiny"), ("dosovitskiy2021image",)),
}

SCORE_SOURCES: dict[str, Keys] = {name: score.sources for name, score in REGISTRY.items() if score.sources}

# Of analysis.scores, analysis.across and the theory that figures draw.
STATISTIC_SOURCES: dict[str, Keys] = {
    "jackknife": ("efron1981jackknife",),
    "unseen_cliffs": ("johnson1940applications",),
    "holm": ("holm1979simple",),
    "rank_agreement": ("spearman1904proof", "kendall1945treatment"),
    "rank_ranges": ("mogstad2024inference",),
    "equal_variances": _EQUAL_VARIANCES,
    "unequal_variances": ("welch1947generalization",),
    "performance_profile": ("dolan2002benchmarking", "agarwal2021precipice"),
    "profile_integral": ("dahl2023benchmarking",),
    "critical_difference": ("demsar2006statistical",),
    "entropy_of_softmax": (_HONG_LEE,),
    "entropy_range": ("harremoes2001inequalities",),
}

SOURCES: dict[str, dict[str, Keys]] = {
    "method": METHOD_SOURCES,
    "optimizer": OPTIMIZER_SOURCES,
    "schedule": SCHEDULE_SOURCES,
    "workload": WORKLOAD_SOURCES,
    "model": MODEL_SOURCES,
    "score": SCORE_SOURCES,
    "statistic": STATISTIC_SOURCES,
}

# What has nothing to cite, and why.
UNCITED: dict[str, dict[str, str]] = {
    "schedule": {"constant": "no decay"},
    "score": {name: "this project" for name, score in REGISTRY.items() if not score.sources},
}

_FILE = Path(__file__).parents[1] / "references" / "sources.bib"


def keys_of(kind: str, label: str) -> Keys:
    """BibTeX keys of what a label of this kind of SOURCES names; none of what is uncited or not ours."""
    return SOURCES[kind].get(entry_name(label), ())


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


def bibtex(keys: Iterable[str]) -> str:
    """The entries of these keys, each once, in alphabetical order of the keys."""
    entries = bib_entries()
    return "\n\n".join(entries[key] for key in sorted(set(keys))) + "\n"
