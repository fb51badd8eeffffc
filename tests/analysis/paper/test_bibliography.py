"""Everything that a suite can name has a source that exists, or says why not."""

import re
import unicodedata
from pathlib import Path

import polars as pl
import pytest

import analysis
from analysis.paper.bibliography import ENTRIES, SOURCES, bib_entries, bibtex, keys_of, scores_in, why_uncited
from analysis.scores.registry import REGISTRY
from analysis.text import entry_name
from bench.entry import load_class
from bench.models import decoder, encoder_decoder, vit

NAMES = {**ENTRIES, "model": {**decoder.PRESETS, **vit.PRESETS, **encoder_decoder.PRESETS}, "score": REGISTRY}
NOT_NAMED = {"anil2020scalable", "guo2006schur", "hagele2024scaling"}  # in the docstrings alone
NEEDED = {
    "article": {"journal"},
    "book": {"publisher"},
    "inproceedings": {"booktitle"},
    "misc": {"howpublished"},
    "techreport": {"institution"},
}
# Code whose docstrings say whose definitions scores, statistics and the theory in figures are.
ROOMS = ("scores/**/*.py", "across/*.py", "figures/**/theory*.py")


def field(entry, name):
    found = re.findall(rf"^  {name}\s*= \{{(.*)\}},?$", entry, flags=re.MULTILINE)
    return found[0] if found else ""


def plain(text):
    """Letters without accents, in Unicode or in LaTeX, and without braces."""
    text = re.sub(r"\\(?:[\"'v`^])\{?(\w)\}?", r"\1", text).replace(r"\o", "o").replace("ø", "o")
    bare = "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    return re.sub(r"[{}\[\]]", "", bare)


def first_author(entry):
    """Family name of the first author who is a person, a team's name, or the title's start where none is known."""
    authors = [author.split(",")[0] for author in plain(field(entry, "author")).split(" and ")]
    author = next((name for name in authors if "Team" not in name), authors[0]).removesuffix(" Team")
    return author or " ".join(plain(field(entry, "title")).split()[:2]).lower()


def years(entry):
    """Of publication, and of the preprint."""
    return {int(field(entry, "year")), *(2000 + int(found) for found in re.findall(r"arXiv:(\d\d)\d\d\.", entry))}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_every_entry_is_cited_or_says_why_not(kind, name):
    """Without keys `source` may name no publication, which has a year."""
    why = why_uncited(kind, name)
    assert bool(keys_of(kind, name)) == (why is None)
    assert set(keys_of(kind, name)) <= set(bib_entries())
    assert why is None or not re.search(r"(19|20)\d\d", why), why
    assert why not in ("", "not stated")


def test_every_model_and_statistic_is_cited():
    assert set(SOURCES["model"]) == set(NAMES["model"])
    assert all([*SOURCES["model"].values(), *SOURCES["statistic"].values()])


def test_what_nobody_can_cite():
    assert why_uncited("schedule", "constant") == "no decay"
    assert why_uncited("score", "edge_lr") == "this project"
    assert why_uncited("method", "softmax") is None
    assert why_uncited("method", "my_attention:Cauchy") is None


def test_every_entry_of_the_references_is_cited():
    of_entries = {key for kind, names in NAMES.items() for name in names for key in keys_of(kind, name)}
    of_others = {key for keys in SOURCES.values() for of_one in keys.values() for key in of_one}
    assert of_entries | of_others == set(bib_entries())


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in ENTRIES.items() for name in names])
def test_sources_in_code_name_the_first_author_of_what_is_cited(kind, name):
    said = load_class(ENTRIES[kind][name]).source
    for key in set(keys_of(kind, name)) - NOT_NAMED:
        assert first_author(bib_entries()[key]) in said, key


def test_whoever_the_code_of_scores_names_with_a_year_is_cited():
    folder = Path(analysis.__file__).parent
    texts = [plain(path.read_text(encoding="utf-8")) for room in ROOMS for path in folder.glob(room)]
    names = r"([A-Z]\w+)(?: et al\.| (?:&|and) [A-Z]\w+)? ((?:19|20)\d\d)\b"
    named = {(name, int(year)) for text in texts for name, year in re.findall(names, text)}
    assert {("Demsar", 2006), ("Dolan", 2002), ("Pitman", 1939), ("Walsh", 2025), ("Harremoes", 2001)} <= named
    entries = bib_entries().values()
    cited = {(first_author(entry), year) for entry in entries for year in years(entry)}
    assert named - cited == set()


def test_every_source_line_of_scores_names_somebody_who_is_cited_or_this_project():
    folder = Path(analysis.__file__).parent
    authors = {first_author(entry) for entry in bib_entries().values()} | {"this project", "OLMo"}
    for path in (path for room in ROOMS for path in folder.glob(room)):
        text = " ".join(plain(path.read_text(encoding="utf-8")).replace("#", " ").split())
        for said in re.findall(r"Source: ([^\"].{59})", text):
            assert any(author in said for author in authors), (path.name, said)


def test_scores_of_a_frame_are_those_with_a_number():
    wide = pl.DataFrame({"method": ["a"], "lr_sensitivity": [1.0], "val_calibration_error": [None]})
    assert scores_in(wide) == ["lr_sensitivity"]
    long = pl.DataFrame({"score": ["spike_rate", "edge_lr", "spike_rate"], "value": [0.1, None, None]})
    assert scores_in(long) == ["spike_rate"]
    assert scores_in(long.drop("value")) == []


def test_entries_are_complete_and_balanced():
    for key, text in bib_entries().items():
        (kind,) = re.findall(r"^@(\w+)\{", text)
        fields = set(re.findall(r"^  (\w+)\s*= \{.*\},?$", text, flags=re.MULTILINE))
        assert {"title", "year"} | NEEDED[kind] <= fields, key
        assert "author" in fields or (kind == "misc" and "key" in fields), key  # without either BibTeX can't sort
        assert text.count("{") == text.count("}"), key
        assert text.isascii(), key
        assert re.findall(r"[12]\d{3}", key)[0] == re.findall(r"year\s*= \{(\d{4})\}", text)[0], key


def test_bibtex_holds_each_key_once_in_order():
    text = bibtex(["vaswani2017attention", "holm1979simple", "vaswani2017attention"], {})
    assert re.findall(r"^@\w+\{(\w+),", text, flags=re.MULTILINE) == ["holm1979simple", "vaswani2017attention"]


def test_labels_with_parameters_are_cited_by_their_name():
    assert entry_name("window_softmax(width=8)") == "window_softmax"
    assert keys_of("method", "window_softmax(width=8)") == ("hong2025variance",)
    assert keys_of("method", "my_attention:Cauchy") == ()
    assert keys_of("method", "thermostat_loss(beta=0.3)") == ("thermostat2026",)
    assert keys_of("schedule", "constant") == ()
