"""BLEU and chrF of translations, by sacrebleu; the only file that knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.errors import UsageError

TRANSLATION_EXTRA = "pip install 'attention-robustness-bench[translation]'"
SCORES = ("val_bleu", "val_chrf")  # of bench.held_out


def corpus_scores(translations: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Both SCORES of all translations as one corpus, in [0, 100]. Raises UsageError if sacrebleu is missing."""
    return {
        name: metric.corpus_score(list(translations), [list(references)]).score for name, metric in _metrics().items()
    }


def signatures() -> dict[str, str]:
    """What sacrebleu says of how each of SCORES is computed, its version included. Raises UsageError without it."""
    metrics = _metrics()
    for metric in metrics.values():  # a signature names the number of references, which are known after a first score
        metric.corpus_score(["a"], [["a"]])
    return {name: metric.get_signature().format() for name, metric in metrics.items()}


def _metrics() -> dict[str, Any]:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise UsageError(f"BLEU and chrF of translations need sacrebleu: {TRANSLATION_EXTRA}") from error
    # Tokenised sentences are no mistake here: what a method makes of a text is scored as it is.
    return dict(zip(SCORES, (BLEU(force=True), CHRF()), strict=True))
