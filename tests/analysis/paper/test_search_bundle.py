"""The bundle of searches says how each searched, and cites whose sampler, rule and design it used and no other's."""

import json
import math
import re
from typing import Any

import pytest

from analysis.paper.bibliography import PRUNER_SOURCES, SAMPLER_SOURCES, bib_entries, keys_of
from analysis.paper.bundles import bundle_of
from analysis.paper.prose import cited_keys, text_markdown
from analysis.paper.search_bundle import search_methods_text
from analysis.report.search import search_definitions
from analysis.report.search_kinds import DESIGNS, PRUNERS, SAMPLERS, Authored
from analysis.scores.pruning import RULES
from analysis.subject import SearchSubject
from bench.driver.queues import SearchQueue
from bench.outcome import Outcome, Result
from bench.results.subjects import searched_subject
from bench.search import SEARCHES
from bench.search import samplers as of_optuna
from bench.search.importance import EVALUATORS
from bench.suite import Suite
from tests.analysis.latex_documents import compiled, complaints
from tests.analysis.paper.test_bibliography import first_author

SOBOL = set(keys_of("design", "qmc"))
OF_SAMPLERS = {key for keys in SAMPLER_SOURCES.values() for key in keys}
OF_PRUNERS = {key for keys in PRUNER_SOURCES.values() for key in keys}
BOX = {
    "lr": {"log": [1e-4, 1]},
    "warmup_steps": {"int": [0, 20]},
    "weight_decay": {"log": [1e-5, 1], "zero": 0.1},
    "init_scale": {"log": [0.1, 10]},
}


def suite_of(search: dict[str, Any], **others: Any) -> Suite:
    space = {"box": BOX} if search["name"] == "tune_box" else {"knobs": {"lr": [1e-4, 1.0]}}
    return Suite(
        name="s",
        workloads=[{"name": "in_context_regression", "num_steps": 90}],
        methods=["softmax", "relu_kernel"],
        optimizers=["adamw"],
        search=search,  # pyright: ignore[reportArgumentType]
        probe_every=5,
        **{"seeds": 2, **space, **others},
    )


def searched(suite: Suite) -> SearchSubject:
    """A valley of losses that diverges above 0.3; what a rule could have ended early was trained to the end."""
    rows: dict[str, dict[str, Any]] = {}
    queue = SearchQueue(suite, {})
    while trials := queue.next():
        for trial in trials:
            is_stable = trial.knobs.lr < 0.3
            final = 1 + abs(math.log10(trial.knobs.lr) + 2) / 2 + trial.seed / 10 if is_stable else math.inf
            outcome = Outcome.COMPLETED if is_stable else Outcome.DIVERGED
            result = Result(trial=trial, outcome=outcome, initial_loss=3.0, final_loss=final, wall_s=1.0)
            rows[trial.id] = result.search_row()
            queue.tell([result])
    manifest = json.dumps({"suite": suite.model_dump(mode="json"), "bench": "0.1.0", "packages": {"optuna": "5.0.0"}})
    return searched_subject(suite, rows, read_manifest=lambda: manifest)


def plain(text: Any) -> str:
    return text_markdown(text).replace("\\", "")


@pytest.mark.parametrize("sampler", list(of_optuna.SAMPLERS))
def test_each_sampler_is_cited_by_its_own_authors_and_no_others(sampler):
    subject = searched(suite_of({"name": "tune_box", "budget": 24, "startup": 8, "batch": 2, "sampler": sampler}))
    text = search_methods_text(subject)
    keys = set(cited_keys(text))
    assert keys & OF_SAMPLERS == SOBOL | set(keys_of("sampler", sampler))
    assert "akiba2019optuna" in keys
    assert not keys & OF_PRUNERS
    assert keys <= bib_entries().keys() | {"attentionrobustnessbench"}
    said = plain(text)
    assert "lr from 0.0001 to 1 (log-uniform); warmup_steps from 0 to 20 (whole numbers)" in said
    assert "within 24 trials. Each setting was trained with every seed. The first 8 settings were" in said
    assert "then 2 settings a round were asked for by Optuna" in said
    assert SAMPLERS[sampler].words in said
    assert "The other knob was grad_clip off." in said
    assert "optuna 5.0.0" in said


def test_a_budget_that_the_first_round_spends_cites_no_sampler():
    keys = cited_keys(search_methods_text(searched(suite_of({"name": "tune_box", "budget": 16, "startup": 8}))))
    assert set(keys) & OF_SAMPLERS == SOBOL
    assert "akiba2019optuna" not in keys


@pytest.mark.parametrize("rule", list(RULES))
def test_each_rule_that_ends_settings_early_is_cited_alone(rule):
    search = {"name": "tune_box", "budget": 50, "startup": 8, "batch": 2}
    text = search_methods_text(searched(suite_of(search, stop=rule, seeds=5)))
    assert set(cited_keys(text)) & OF_PRUNERS == set(keys_of("pruner", rule))
    assert f"Settings ended early by {PRUNERS[rule].words} [" in plain(text)
    assert "looked after 10, 30 steps" in plain(text)


OF_SEARCHES = {
    "edge": ({"severini2002exact"}, "until half of the interval was at most 0.15 decades"),
    "sensitivity": ({"efron1981jackknife"}, "asked for the 3 trials of the grid that tell most"),
    "tune": ({*keys_of("sampler", "tpe"), "akiba2019optuna"}, "then 4 values a round that Optuna"),
}


@pytest.mark.parametrize("name", OF_SEARCHES)
def test_searches_over_one_knob_say_how_they_search(name):
    keys, words = OF_SEARCHES[name]
    subject = searched(suite_of({"name": name, "budget": 9}, knobs={"lr": [1e-4, 1e-3, 1e-2, 0.1, 1.0]}))
    text = search_methods_text(subject)
    assert keys <= set(cited_keys(text))
    assert not set(cited_keys(text)) & (OF_SAMPLERS | OF_PRUNERS) - keys
    assert words in plain(text)
    assert "we searched lr from 0.0001 to 1" in plain(text)
    assert f"{subject.results.height} trials, of which" in plain(text)


def test_every_search_sampler_rule_and_evaluator_has_its_words_and_authors():
    assert OF_SEARCHES.keys() | {"tune_box"} == SEARCHES.keys()
    assert SAMPLERS.keys() == of_optuna.SAMPLERS.keys()
    assert PRUNERS.keys() == RULES.keys()
    assert all(keys_of("evaluator", name) for name in EVALUATORS)
    authored: dict[tuple[str, str], Authored] = {("sampler", name): one for name, one in SAMPLERS.items()}
    authored |= {("pruner", name): one for name, one in PRUNERS.items()}
    authored |= {("design", name): one for name, one in DESIGNS.items()}
    for (kind, name), one in authored.items():
        for key in keys_of(kind, name):
            assert first_author(bib_entries()[key]) in one.authors, key
            assert re.findall(r"\d{4}", key)[0] in one.authors, key


def test_the_report_names_the_authors_too():
    subject = searched(suite_of({"name": "tune_box", "budget": 16, "startup": 8, "sampler": "cmaes"}, stop="halving"))
    words = search_definitions(subject.answers, subject.search["sampler"], subject.rules)
    assert words["cmaes"].endswith("(Hansen and Ostermeier 2001)")
    assert "Jamieson and Talwalkar 2016" in words["halving"]


@pytest.mark.slow
@pytest.mark.parametrize("search", ["tune_box", "edge"])
def test_the_bundle_compiles_with_tables_figures_and_numbers(tmp_path, search):
    plan = {"name": search, "budget": 24} | ({"startup": 8, "sampler": "nsga2"} if search == "tune_box" else {})
    subject = searched(suite_of(plan))
    paths = bundle_of(subject, tmp_path / "new", command="bench export s --bundle DIR")
    written = {path.relative_to(tmp_path / "new").as_posix() for path in paths}
    assert {"main.tex", "tables/answers.tex", "numbers.csv", "search.csv", "trail.csv", "figures/asked.pdf"} <= written
    assert ({"tables/front.tex", "front.csv"} <= written) == (search == "tune_box")
    assert ("figures/edges.pdf" in written) == (search == "edge")
    readme = (tmp_path / "new/README.txt").read_text()
    assert "every trial that a search asked for" in readme
    assert complaints(compiled(tmp_path / "new")) == []
