"""Everything that a suite can name has a source that exists, or says why not."""

import importlib
import re

import pytest

from analysis.paper.bibliography import SOURCES, UNCITED, bib_entries, bibtex, entry_name, keys_of
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.robustness import SCORES
from bench.methods import METHODS
from bench.models import decoder, vit
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.workloads import WORKLOADS

NAMES = {
    "method": METHODS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "workload": WORKLOADS,
    "model": {**decoder.PRESETS, **vit.PRESETS},
    "score": {**SCORES, **SCORE_KINDS},
}
NEEDED = {
    "article": {"journal"},
    "inproceedings": {"booktitle"},
    "misc": {"howpublished"},
    "techreport": {"institution"},
}


@pytest.mark.parametrize("kind", NAMES)
def test_every_entry_is_cited_or_says_why_not(kind):
    uncited = set(UNCITED[kind]) if kind in UNCITED else set()
    assert set(NAMES[kind]) == set(SOURCES[kind]) | uncited
    assert not set(SOURCES[kind]) & uncited
    assert all(SOURCES[kind].values())


def test_every_key_exists_and_every_entry_is_cited():
    assert {key for sources in SOURCES.values() for keys in sources.values() for key in keys} == set(bib_entries())


def test_sources_in_code_name_the_first_author_of_what_is_cited():
    def source(target):
        module, _, name = target.partition(":")
        return getattr(importlib.import_module(module), name).source

    entries = bib_entries()
    for kind in ("method", "optimizer", "schedule", "workload"):
        for name, keys in SOURCES[kind].items():
            for key in keys:
                (author,) = re.findall(r"author\s*= \{(.*)\}", entries[key])
                family = author.strip("{").split(",")[0].split("}")[0]
                plain = re.sub(r"\{\\.(\w)\}", r"\1", family).removesuffix(" Team")
                said = source(NAMES[kind][name])
                assert plain in said or (kind, key) in {
                    ("optimizer", "anil2020scalable"), ("optimizer", "guo2006schur"), ("schedule", "hagele2024scaling"),
                }, (name, key, said)  # fmt: skip


def test_entries_are_complete_and_balanced():
    for key, text in bib_entries().items():
        (kind,) = re.findall(r"^@(\w+)\{", text)
        fields = set(re.findall(r"^  (\w+)\s*= \{.*\},?$", text, flags=re.MULTILINE))
        assert {"title", "author", "year"} | NEEDED[kind] <= fields, key
        assert text.count("{") == text.count("}"), key
        assert text.isascii(), key
        assert re.search(r"[12]\d{3}", key)[0] == re.findall(r"year\s*= \{(\d{4})\}", text)[0], key


def test_bibtex_holds_each_key_once_in_order():
    text = bibtex(["vaswani2017attention", "holm1979simple", "vaswani2017attention"])
    assert re.findall(r"^@\w+\{(\w+),", text, flags=re.MULTILINE) == ["holm1979simple", "vaswani2017attention"]


def test_labels_with_parameters_are_cited_by_their_name():
    assert entry_name("window_softmax(width=8)") == "window_softmax"
    assert keys_of("method", "window_softmax(width=8)") == ("hong2025variance",)
    assert keys_of("method", "my_attention:Cauchy") == ()
    assert keys_of("method", "thermostat_loss") == ()
