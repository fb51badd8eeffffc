"""SEARCH_KINDS, SAMPLERS, DESIGNS, PRUNERS: how searches, where settings come from and what ends them are worded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SearchKind:
    """How the answers of one search are worded. `title` and `best` may hold the knob's name in braces."""

    title: str
    best: str  # of a sentence: method, this, value
    is_value: bool  # the answer is a value of the knob, not a loss
    definition: str


SEARCH_KINDS: dict[str, SearchKind] = {
    "edge": SearchKind(
        title="Largest stable {knob}",
        best="is stable up to the largest {knob}",
        is_value=True,
        definition="value of {knob} above which half of the seeds are no longer stable, by bisection for each seed; a "
        "seed is stable at a value if it did not diverge and its loss keeps at least half of what the least mean loss "
        "learns from the mean loss at init. Brackets: 95% interval",
    ),
    "sensitivity": SearchKind(
        title="LR sensitivity",
        best="has the lowest LR sensitivity",
        is_value=False,
        definition="the score lr_sensitivity of the whole grid, from the trials that tell most of it; the rest of the "
        "grid is completed by a model of the curves. Brackets: 95% interval over seeds and over what is not trained",
    ),
    "tune": SearchKind(
        title="Least loss",
        best="reaches the least loss",
        is_value=False,
        definition="least mean of the final loss over seeds at one value of {knob}, of the values that the budget paid "
        "for. Brackets: 95% interval over seeds. Trials to target: after which the leading value stayed near the final "
        "best",
    ),
    "tune_box": SearchKind(
        title="Least loss",
        best="reaches the least loss",
        is_value=False,
        definition="least mean over seeds of the final loss, at most the loss at init, of the settings of {knob} that "
        "the budget paid for. Brackets: 95% interval over seeds; it is the least of many, so that other seeds of the "
        "same setting are expected above it. Trials to target: after which one was near the "
        "final best",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Authored:
    """What something of Optuna's is, to go on after "by", and whose it is."""

    words: str
    authors: str

    def definition(self, kind: str) -> str:
        """In words, for the definitions of a page; `kind` is what it is of Optuna's."""
        return f"{kind} of Optuna's (Akiba et al. 2019): {self.words} ({self.authors})"


# Of tune_box; tune has the first, of one knob.
SAMPLERS: dict[str, Authored] = {
    "tpe": Authored(
        words="a tree-structured Parzen estimator, multivariate, in groups of knobs that act together, settings in "
        "training counted as bad",
        authors="Bergstra et al. 2011; Watanabe 2023",
    ),
    "gp": Authored(
        words="the logarithm of expected improvement under a Gaussian process, settings in training counted in",
        authors="Ament et al. 2023",
    ),
    "cmaes": Authored(
        words="the covariance matrix adaptation evolution strategy CMA-ES, lists drawn at random",
        authors="Hansen and Ostermeier 2001",
    ),
    "nsga2": Authored(
        words="the genetic algorithm NSGA-II, told the mean loss over seeds and that of the worst seed",
        authors="Deb et al. 2002",
    ),
    "random": Authored(words="independent uniform draws", authors="Bergstra and Bengio 2012"),
    "qmc": Authored(
        words="further points of a scrambled Sobol sequence", authors="Sobol' 1967; Owen 1998; Matousek 1998"
    ),
}

# Of boxes.
DESIGNS: dict[str, Authored] = {
    "qmc": replace(SAMPLERS["qmc"], words="points of a Sobol sequence, scrambled anew for each replicate"),
    "random": SAMPLERS["random"],
}

# Rules by which settings end early.
PRUNERS: dict[str, Authored] = {
    "median": Authored(words="the median rule", authors="Golovin et al. 2017"),
    "halving": Authored(words="asynchronous successive halving", authors="Jamieson and Talwalkar 2016; Li et al. 2020"),
    "hyperband": Authored(words="Hyperband", authors="Li et al. 2018"),
    "wilcoxon": Authored(words="Wilcoxon's signed-rank test over seeds", authors="Wilcoxon 1945"),
}


def search_kind(search: str) -> SearchKind:
    """The kind of the search of this name. Raises UsageError where there is none."""
    if search not in SEARCH_KINDS:
        raise UsageError(f"no page for the search {search!r}; there are {', '.join(SEARCH_KINDS)}")
    return SEARCH_KINDS[search]
