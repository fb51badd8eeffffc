"""BLEU and chrF against definitions by hand, and the signatures that stand beside them."""

import math

import pytest

from bench.workloads.translation_scores import corpus_scores, signatures

pytest.importorskip("sacrebleu", reason="needs the extra 'translation'")


def test_bleu_is_that_of_papineni():
    """5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 quadruples; no brevity penalty."""
    found = corpus_scores(["the cat sat on the mat"], ["the cat sat on a mat"])
    precisions = (5 / 6, 3 / 5, 2 / 4, 1 / 3)
    assert found["val_bleu"] == pytest.approx(100 * math.prod(precisions) ** 0.25, rel=1e-9)


def test_a_short_corpus_is_penalised_as_one():
    found = corpus_scores(["a b c d", "e f g h i"], ["a b c d", "e f g h i j k"])
    assert found["val_bleu"] == pytest.approx(100 * math.exp(1 - 11 / 9), rel=1e-9)


def test_right_translations_have_100_and_none_that_share_no_letter_have_0():
    assert corpus_scores(["ein Hund", "zwei"], ["ein Hund", "zwei"])["val_chrf"] == pytest.approx(100)
    assert corpus_scores(["xyz xyz"], ["ein Hund"]) == {"val_bleu": 0.0, "val_chrf": 0.0}


def test_signatures_say_how_and_by_which_version():
    found = signatures()
    assert found["val_bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert found["val_chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
