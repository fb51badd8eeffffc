"""HELD_OUT: every measure on held-out data; histories, traces, results, scores and imports derive from it.

A new one is an entry here, under the name that its column gets, and a workload that names it in `measures` and computes
it in `held_out_measures`; or, of what a trained model writes, in `at_end` and `generated_measures`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a workload measures of a model on data that it does not train on. `low` and `high` bound it.

    diverged: what a trial that diverged gets, None if nothing. initial: the column with the value before any update, ""
    if it is not kept. heading: the title where all columns are of held-out data. least_of, step_of_least: the measure
    whose evaluations it is the least of, or the step of that (the first, if several are equal); "" for one that
    workloads compute. at_end: measured once, after the last update, of what the model generates. sources: BibTeX
    keys of analysis/references/sources.bib, none if it is this project's.
    """

    title: str
    heading: str
    unit: str
    low: float
    high: float
    higher_is_better: bool
    definition: str
    diverged: float | None = None
    initial: str = ""
    least_of: str = ""
    step_of_least: str = ""
    at_end: bool = False
    sources: tuple[str, ...] = ()

    @property
    def is_derived(self) -> bool:
        """Whether it is made of another measure's evaluations; workloads name and compute the others."""
        return bool(self.least_of or self.step_of_least)


HELD_OUT: dict[str, Measure] = {
    "val_loss": Measure(
        title="Held-out loss",
        heading="Held-out loss",
        unit="workload's",
        low=-math.inf,
        high=math.inf,
        higher_is_better=False,
        definition="mean loss over the workload's held-out data after the last update",
        diverged=math.inf,
        initial="initial_val_loss",
    ),
    "least_val_loss": Measure(
        title="Least held-out loss",
        heading="Least held-out loss",
        unit="workload's",
        low=-math.inf,
        high=math.inf,
        higher_is_better=False,
        definition="least held-out loss of all evaluations, before any update and after the last included",
        diverged=math.inf,
        least_of="val_loss",
    ),
    "least_val_loss_step": Measure(
        title="Step of the least held-out loss",
        heading="Its step",
        unit="steps",
        low=0.0,
        high=math.inf,
        higher_is_better=False,
        definition="updates before the evaluation with the least held-out loss; from there on the model overfits, or "
        "learns no more",
        step_of_least="val_loss",
    ),
    "val_accuracy": Measure(
        title="Held-out accuracy",
        heading="Accuracy",
        unit="1",
        low=0.0,
        high=1.0,
        higher_is_better=True,
        definition="share of held-out predictions whose most probable class is right (of next tokens for a language "
        "model), in [0, 1]",
    ),
    "val_calibration_error": Measure(
        title="Held-out calibration error",
        heading="Calibration error",
        unit="1",
        low=0.0,
        high=1.0,
        higher_is_better=False,
        definition="expected calibration error of the held-out predictions, in [0, 1], 0 if calibrated: sum over 15 "
        "bins of equal width in confidence (the probability of the most probable class) of the bin's share of "
        "predictions times |its accuracy - its mean confidence| (Guo et al. 2017, Eq. 3)",
        sources=("guo2017calibration",),
    ),
    "val_bits_per_byte": Measure(
        title="Held-out bits per byte",
        heading="Bits per byte",
        unit="bits",
        low=0.0,
        high=math.inf,
        higher_is_better=False,
        definition="held-out loss in bits over the bytes of UTF-8 that the predicted tokens stand for, which compares "
        "models of one text with different tokenizers",
    ),
    "val_character_error_rate": Measure(
        title="Held-out character error rate",
        heading="CER",
        unit="1",
        low=0.0,
        high=math.inf,
        higher_is_better=False,
        definition="insertions, deletions and substitutions that turn the most probable path of CTC into the "
        "transcripts, by characters, spaces counted, over the characters of all held-out transcripts; above 1 if more "
        "is said than there is",
    ),
    "val_word_error_rate": Measure(
        title="Held-out word error rate",
        heading="WER",
        unit="1",
        low=0.0,
        high=math.inf,
        higher_is_better=False,
        definition="as the character error rate, by words",
    ),
    "val_knn_accuracy": Measure(
        title="Held-out accuracy of nearest neighbours",
        heading="Neighbours' accuracy",
        unit="1",
        low=0.0,
        high=1.0,
        higher_is_better=True,
        definition="share of held-out images whose class the 20 training images with the most similar representations "
        "have, by weight exp(cosine / 0.07) (Wu et al. 2018), the mean representation taken off, in [0, 1]",
        sources=("wu2018unsupervised",),
    ),
    "val_probe_accuracy": Measure(
        title="Held-out accuracy of a linear probe",
        heading="Probe's accuracy",
        unit="1",
        low=0.0,
        high=1.0,
        higher_is_better=True,
        definition="share of held-out images that a ridge regression of the classes on representations of training "
        "images gets right (channels of variance 1, penalty 0.01), in [0, 1]",
    ),
    "val_effective_rank": Measure(
        title="Effective rank of held-out representations",
        heading="Effective rank",
        unit="directions",
        low=0.0,
        high=math.inf,
        higher_is_better=True,
        definition="(sum of e)^2 / sum of e^2 of the eigenvalues e of the covariance of representations of held-out "
        "images: over how many directions they spread; near 1 they have collapsed",
    ),
    "val_exact_match": Measure(
        title="Held-out exact match",
        heading="Exact match",
        unit="1",
        low=0.0,
        high=1.0,
        higher_is_better=True,
        definition="share of held-out targets of which every token is the most probable one, given the source and the "
        "tokens before it: those that greedy decoding would write exactly, in [0, 1]",
    ),
    "val_bleu": Measure(
        title="BLEU of greedy decoding",
        heading="BLEU, greedy",
        unit="1 of 100",
        low=0.0,
        high=100.0,
        higher_is_better=True,
        definition="corpus BLEU of what greedy decoding makes of the held-out sources, by sacrebleu with the signature "
        "in the manifest, in [0, 100] (Papineni et al. 2002; Post 2018)",
        at_end=True,
        sources=("papineni2002bleu", "post2018bleu"),
    ),
    "val_chrf": Measure(
        title="chrF of greedy decoding",
        heading="chrF, greedy",
        unit="1 of 100",
        low=0.0,
        high=100.0,
        higher_is_better=True,
        definition="F-score of character n-grams (chrF2, up to 6 characters) of what greedy decoding makes of the "
        "held-out sources, by sacrebleu with the signature in the manifest, in [0, 100] (Popović 2015)",
        at_end=True,
        sources=("popovic2015chrf", "post2018bleu"),
    ),
}

# What workloads name and compute; the others are made of their evaluations.
COMPUTED: tuple[str, ...] = tuple(
    name for name, measure in HELD_OUT.items() if not (measure.is_derived or measure.at_end)
)
# Those of what a trained model generates.
AT_END: tuple[str, ...] = tuple(name for name, measure in HELD_OUT.items() if measure.at_end)
# Columns of results: values before any update first, then those after the last.
INITIAL: tuple[str, ...] = tuple(measure.initial for measure in HELD_OUT.values() if measure.initial)
HELD_OUT_COLUMNS: tuple[str, ...] = (*INITIAL, *HELD_OUT)
