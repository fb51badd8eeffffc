"""The paragraph of a paper that says what was trained and how it was scored, from results and manifest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from analysis.blown_up import with_blown_up
from analysis.knobs import setting_values
from analysis.losses import SCORED_LOSSES
from analysis.paper.bibliography import OWN_KEY, keys_of, keys_of_workload
from analysis.paper.entries import constants_of, in_words, settings_of
from analysis.paper.imports import divergence_rule, imported_text
from analysis.paper.optimizers_text import decay_text, optimizers_text
from analysis.paper.placements import placements_text
from analysis.paper.prose import Cite, Math, Text, cited, listed_knob, listed_lrs, listed_seeds
from analysis.scores.causes.alarms import FALSE_ALARM_SHARE
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.scores.traces import COLLAPSE_SHARE
from analysis.stuck import with_stuck
from analysis.text import counted
from bench.entry import load_class
from bench.outcome import Outcome
from bench.trial import KNOB_NAMES
from bench.workloads import WORKLOADS

# Scores that a formula says more sharply than words, and what m in it is; L is the set of learning rates, S the number
# of seeds s, and 0 stands for the loss at init.
FORMULAS: dict[str, tuple[str, str]] = {
    "lr_sensitivity": (
        r"\frac{1}{|L|} \sum_{\eta \in L} m(\eta) - \min_{\eta \in L} m(\eta)",
        r"m(\eta) = \min\{\bar\ell(\eta), \bar\ell_0\}",
    ),
    "lr_sensitivity_seedwise": (
        r"\frac{1}{|L|} \sum_{\eta \in L} m(\eta) - \min_{\eta \in L} m(\eta)",
        r"m(\eta) = \frac{1}{S} \sum_s \min\{\ell_s(\eta), \ell_{s,0}\}",
    ),
}

# Further scores that tables and figures of LaTeX show.
_FURTHER: dict[str, str] = {
    "val_calibration_error": "The calibration error is the expected one of held-out predictions, over 15 bins",
    "entropy_collapse_step": f"We speak of entropy collapse where attention entropy falls below {COLLAPSE_SHARE:g} of "
    "its largest value, the mean over rows of the logarithm of the number of keys that a row sees",
}
DROPOUTS = ("dropout", "attention_dropout", "layer_dropout")  # rates of workloads
_WITH_DROPOUT = "Training losses, those at init among them, are measured with dropout, held-out losses without it. "
_WITH_ENTROPY = {"training_behaviour", "entropy_by_layer", "entropy_by_head"}  # figures that mark it

_UNSEEN: Text = [
    "Where the largest stable learning rates of a method's seeds scatter (flag cliff_wanders), the intervals of its "
    "best loss and of its loss at the default learning rate also reach up by what a seed that diverges earlier than "
    "those at hand may cost, its cliff taken to be normal in the logarithm of the learning rate",
    Cite(keys=keys_of("statistic", "unseen_cliffs")),
    ". ",
]

_WITH_DETECTORS = {"warnings_roc", "warnings_lead"}  # figures of detectors of failure
_WARNINGS: Text = [
    "Detectors of failure were scored by run, its first alarm alone counting: a run failed if it diverged or ended "
    "above its loss at init, thresholds were those that at most "
    f"{FALSE_ALARM_SHARE:.0%} of the stable runs of other methods, learning rates or seeds exceed, and intervals are "
    "percentiles of a bootstrap over runs, of shares not narrower than Wilson's",
    Cite(keys=keys_of("statistic", "early_warning")),
    "; the z-score of gradient norms is that of ZClip",
    Cite(keys=keys_of("statistic", "gradient_z_score")),
    ". ",
]

_NO_SUITE: dict[str, Any] = dict.fromkeys(("workloads", "methods", "optimizers", "schedules"), ())
_COMMIT_DIGITS = 40
_FACTS = ("bench", "git", "python", "device", "cpu", "precision")
_OUR_PACKAGES = ("torch", "triton", "ray", "polars", "numpy")


def methods_text(
    results: pl.DataFrame,
    *,
    score: str,
    loss: str,
    manifest: Mapping[str, Any] | None = None,
    imported: pl.DataFrame | None = None,
    further: Collection[str] = (),
    figures: Collection[str] = (),
    flags: Collection[str] = (),
) -> Text:
    """Model, data, steps, optimizer, learning rates, seeds, divergence, score, intervals, versions and hardware.

    `results` has RESULT_COLUMNS, and `imported` those of its rows that are runs of others. `manifest` is that of
    bench.driver.manifest, with its imports; without it, settings, versions and hardware are said not to be recorded.
    `further` are scores in tables beside that, `figures` the kinds of figures that go with the text, `flags` those
    raised on the leaderboard. Raises KeyError for a score or loss that there is not.
    """
    facts = {} if manifest is None else manifest
    suite = {**_NO_SUITE, **facts.get("suite", {})}
    imported = results.clear() if imported is None else imported
    own = results.join(imported, on="trial_id", how="anti", maintain_order="left")
    has = {"has_own": not own.is_empty(), "has_imported": not imported.is_empty()}
    return [
        *(_training(own, suite) if has["has_own"] else []),
        *imported_text(imported, facts.get("imports", {})),
        divergence_rule(**has) + " ",
        *_score(score, loss, suite, **has),
        *_statistics(results),
        *(_UNSEEN if "cliff_wanders" in flags else []),
        *_further(further, figures),
        *versions_text(facts, has_own=has["has_own"], has_imported=has["has_imported"]),
    ]


def _training(own: pl.DataFrame, suite: Mapping[str, Any]) -> Text:
    return [
        *what_was_trained(own, suite),
        *optimizers_text(own, suite),
        _grid(own),
        decay_text(own, suite),
        *_interventions(suite),
        seeds_text(own),
    ]


def what_was_trained(results: pl.DataFrame, suite: Mapping[str, Any]) -> Text:
    """Methods, workloads with their settings, and steps."""
    methods = results["method"].unique().sort().to_list()
    text: Text = [
        f"We trained {counted(len(methods), 'attention method')}: ",
        *cited("method", methods, constants_of(suite, "methods")),
        "; on ",
    ]
    entries = suite["workloads"]
    if not entries:
        steps = ", ".join(f"{number:,}" for number in results["num_steps"].unique().sort())
        return [*text, *cited("workload", results["workload"].unique().sort()), f", for {steps} steps. "]
    for place, entry in enumerate(entries):
        settings = settings_of(entry)
        name = str(entry["name"])
        words = load_class(WORKLOADS[name]).title if name in WORKLOADS else name
        keys = keys_of_workload(entry)
        text += [("; " if place else "") + words, *([Cite(keys=keys)] if keys else [])]
        text.append(f" for {in_words(entry['num_steps'])} steps" + (f" ({settings})" if settings else ""))
    return [*text, ". ", *placements_text(suite)]


def _grid(results: pl.DataFrame) -> str:
    return f"We tried {listed_lrs(results['lr'])}; the other knobs were {', '.join(other_knobs(results, ('lr',)))}. "


def other_knobs(results: pl.DataFrame, moved: Collection[str]) -> list[str]:
    """The knobs that are not among the moved ones, each with its values."""
    knobs = [listed_knob(results[name]) for name in KNOB_NAMES if name not in moved]
    settings = setting_values(results).items()
    return knobs + [f"{name} {in_words(values)}" for name, values in settings if name not in moved]


def others_text(results: pl.DataFrame, moved: Collection[str]) -> Text:
    """The values of the knobs that were not moved; nothing where all were."""
    others = other_knobs(results, moved)
    verb = "knob was" if len(others) == 1 else "knobs were"
    return [f"The other {verb} {', '.join(others)}. "] if others else []


def _interventions(suite: Mapping[str, Any]) -> Text:
    """What was done to trials beside their twins; nothing where nothing was."""
    if not suite.get("interventions"):  # which a suite without any does not write
        return []
    named = sorted({str(entry["name"]) for entry in suite["interventions"]})
    return [
        "Beside each trial the same with an intervention was trained in one batch of models, equal to it to the bit "
        "until the intervention acts: ",
        *cited("intervention", named, constants_of(suite, "interventions")),
        ". ",
    ]


def seeds_text(results: pl.DataFrame) -> str:
    return (
        f"Each setting was trained with {listed_seeds(results['seed'])}, which decide the initial weights and the "
        f"data, whatever the learning rate: {outcomes_words(results)}. "
    )


def outcomes_words(results: pl.DataFrame) -> str:
    """How many trials there were, and how many of them ended how."""
    counts = {outcome: results.filter(outcome=outcome.value).height for outcome in Outcome}
    stopped = {Outcome.ABORTED: "aborted on the warning of a detector", Outcome.PRUNED: "pruned"}
    ended = "".join(f", {counts[one]:,} were {words}" for one, words in stopped.items() if counts[one])
    lost = sum(count for outcome, count in counts.items() if not (outcome.is_result or outcome.is_stopped))
    return (
        f"{results.height:,} trials, of which {counts[Outcome.COMPLETED]:,} completed{_in_trouble(results)}, "
        f"{counts[Outcome.DIVERGED]:,} diverged{ended} and {lost:,} were lost"
    )


def _in_trouble(results: pl.DataFrame) -> str:
    """How many of the trials that completed ended above their loss at init, or stuck, in parentheses; "" if none."""
    ended = with_stuck(with_blown_up(results.filter(outcome=Outcome.COMPLETED.value)))
    words = {"blown_up": "above their loss at init", "stuck": "without learning"}
    counts = {name: int(ended[name].sum()) for name in words}
    outcomes = [f"{number:,} of them {words[name]}" for name, number in counts.items() if number]
    return f" ({', '.join(outcomes)})" if outcomes else ""


def _score(score: str, loss: str, suite: Mapping[str, Any], *, has_own: bool, has_imported: bool) -> Text:
    scored, definition = SCORED_LOSSES[loss], SCORE_KINDS[score].definition
    entries = suite["workloads"]
    windows = dict.fromkeys(in_words(entry["final_loss_steps"]) for entry in entries if "final_loss_steps" in entry)
    over = f" ({', '.join(windows)})" if windows and loss == "train" else ""
    own = f", {scored.definition}{over}" if has_own else ""
    imported = f"{'; of imported runs' if has_own else ''}, as their files state it" if has_imported else ""
    text: Text = [
        f"All scores are of the {scored.title}{own}{imported}. The score {score}",
        *([Cite(keys=keys)] if (keys := keys_of("score", score)) else []),
        f" is {'defined' if definition.startswith('as ') else 'the'} {definition}",
    ]
    if score in FORMULAS:
        formula, where = FORMULAS[score]
        text += [": ", Math(formula=formula), ", where ", Math(formula=where)]
    drops = any(entry.get(name) for entry in entries for name in DROPOUTS)
    return [*text, ". ", *([_WITH_DROPOUT] if drops and has_own else [])]


def _statistics(results: pl.DataFrame) -> Text:
    if results["seed"].n_unique() < 2:
        return ["With one seed there are no intervals and no tests. "]
    return [
        f"Brackets are two-sided {CONFIDENCE:.0%} intervals over seeds: Student's t, with one degree of freedom less "
        "than seeds, on the wider of two standard errors, that of the delete-one-seed jackknife",
        Cite(keys=keys_of("statistic", "jackknife")),
        " and that of the scores of single seeds. Methods were compared in pairs, paired by seed where they have the "
        "same seeds and else by Welch's t-test",
        Cite(keys=keys_of("statistic", "unequal_variances")),
        ", the p-values corrected by Holm's method",
        Cite(keys=keys_of("statistic", "holm")),
        " over all pairs of a workload. Ranks are the ranges that the seeds leave possible, from 1 + the number of "
        "methods that are significantly better to n less the number that are significantly worse, of the n that could "
        f"be tested; they hold all at once with {CONFIDENCE:.0%} confidence",
        Cite(keys=keys_of("statistic", "rank_ranges")),
        ". ",
    ]


def _further(further: Collection[str], figures: Collection[str]) -> Text:
    """What tables and figures show beside the scores of the leaderboard, where it has a source."""
    marked = {"entropy_collapse_step"} if set(figures) & _WITH_ENTROPY else set()
    text: Text = []
    for name, words in _FURTHER.items():
        if name in {*further, *marked}:
            text += [words, Cite(keys=keys_of("score", name)), ". "]
    return text + (_WARNINGS if set(figures) & _WITH_DETECTORS else [])


def versions_text(
    manifest: Mapping[str, Any], *, has_own: bool, has_imported: bool, further: Sequence[str] = ()
) -> Text:
    """The program, its packages, `further` ones among them, and the hardware."""
    if not has_own:
        return ["What versions and hardware the runs were trained with is not recorded."]
    if not set(_FACTS) & set(manifest):
        return ["Versions and hardware were not recorded."]
    packages = manifest.get("packages", {})
    versions = [f"{name} {packages[name]}" for name in (*_OUR_PACKAGES, *further) if name in packages]
    facts = {name: str(manifest[name]).replace("`", "") for name in _FACTS if name in manifest}
    commit, _, changes = facts["git"].partition("+") if "git" in facts else ("", "", "")
    is_commit = len(commit) == _COMMIT_DIGITS
    commit = f" (commit {commit[:12]}{' with changes' if changes else ''})" if is_commit else ""
    used: Text = ["For our own trials we used" if has_imported else "We used"]
    if "bench" in facts:
        used += [f" attention-robustness-bench {facts['bench']}", Cite(keys=(OWN_KEY,)), commit]
    said = "".join(f", {one}" for one in ([f"Python {facts['python']}"] if "python" in facts else []) + versions)
    hardware = ", ".join(facts[name] for name in ("device", "cpu") if name in facts)
    said += f", on {hardware}" if hardware else ""
    return [*used, said + (f"; {facts['precision']}." if "precision" in facts else ".")]
