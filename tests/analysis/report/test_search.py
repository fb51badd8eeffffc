"""The page of searches: answers, intervals with open ends, every round, and the same in Markdown."""

import math

import polars as pl
import pytest

from analysis.report.folder import write_report
from analysis.report.search import (
    answer_tables,
    asked_trials,
    edge_figures,
    search_chapters,
    search_definitions,
    search_sentences,
)
from analysis.report.search_kinds import SEARCH_KINDS
from analysis.report.views import view_of
from analysis.subject import SearchSubject
from bench.errors import UsageError
from bench.results.answers import FRONT_COLUMNS
from bench.search import SEARCHES
from tests.analysis.report.test_page import read

INF, NAN = math.inf, math.nan
HOSTILE = "<script>alert('x')</script>"


def answer(method: str, value: float, low: float, high: float, **other: object) -> dict[str, object]:
    return {
        "workload": "w", "method": method, "optimizer": "sgd", "search": "edge", "knob": "lr", "value": value,
        "ci_low": low, "ci_high": high, "unit": "value of the knob", "best_value": None, "num_trials_to_target": None,
        "best_setting": None,
        "num_trials": 3, "num_rounds": 2, "flags": "", "knobs": "", "note": "the budget of 3 trials is spent", **other,
    }  # fmt: skip


def frame_of(*rows: dict[str, object]) -> pl.DataFrame:
    counts = dict.fromkeys(("num_trials_to_target", "num_trials", "num_rounds"), pl.Int64)
    numbers = dict.fromkeys(("value", "ci_low", "ci_high", "best_value"), pl.Float64)
    return pl.DataFrame(list(rows), schema_overrides={"best_setting": pl.String, **counts, **numbers})


def trail(*methods: str) -> pl.DataFrame:
    rows = [
        {"workload": "w", "method": method, "optimizer": "sgd", "knobs": "", "round": number, "value": value,
         "setting": f"lr={value}", "seed": seed, "final_loss": final, "initial_loss": 3.0,
         "pruned_step": None, "why": why}
        for method in methods
        for number, value, seed, final, why in (
            (1, 0.01, 0, 5.0, "one value a decade"), (1, 1.0, 0, INF, "one value a decade"), (2, 0.1, 1, None, "halve"),
        )
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"final_loss": pl.Float64, "pruned_step": pl.Int64})


TWO = frame_of(answer("a", 0.5, 0.3, 0.9), answer("b", 0.2, 0.1, 0.4), answer("c", 0.1, 0.05, 0.2))


def test_every_search_has_its_words():
    assert SEARCH_KINDS.keys() == SEARCHES.keys()


def test_the_best_is_named_with_those_whose_intervals_overlap():
    assert search_sentences(TWO) == [
        "a is stable up to the largest lr, 0.5 (95% interval [0.3, 0.9]); its interval overlaps with that of b.",
        "9 trials, in 3 searches.",
    ]


def test_the_best_of_a_tuning_has_its_value_of_the_knob():
    tuned = frame_of(answer("a", 0.51234, -INF, INF, search="tune", best_value=0.03, num_trials_to_target=2))
    assert search_sentences(tuned)[0] == "a reaches the least loss, 0.5123, at lr = 0.03."
    (table,) = answer_tables(tuned)
    assert table.titles == ("Method", "Least loss", "95% interval", "At lr", "Trials", "Trials to target", "Rounds")
    assert table.texts == (("a", "0.5123", "–", "0.03", "3", "2", "2"),)


def test_no_answer_at_all_is_said():
    assert search_sentences(frame_of(answer("a", NAN, 0.0, 0.01)))[0] == "No search found an answer: Largest stable lr."


def test_unfinished_searches_are_counted_flagged_and_defined():
    frame = frame_of(answer("a", 0.5, 0.3, 0.9), answer("b", 0.2, 0.1, 0.4, flags="unfinished", note="not finished: x"))
    assert search_sentences(frame)[-1] == "6 trials, in 2 searches. 1 of them are not finished."
    assert [row[-1] for row in answer_tables(frame)[0].texts] == ["", "unfinished"]
    assert list(search_definitions(frame)) == ["Largest stable lr", "unfinished"]
    assert search_chapters(frame, trail("a", "b"))[1].answer.endswith("So far: largest stable lr 0.2 (95% interval "
        "[0.1, 0.4]), from 3 trials in 2 rounds. Not finished: x.")  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.1, 0.4, "[0.1, 0.4]"), (0.0, 0.4, "(0, 0.4]"), (0.1, INF, "[0.1, ∞)"), (NAN, 0.4, "–"), (0.0, INF, "(0, ∞)")],
)
def test_open_ends_of_an_interval(low, high, text):
    assert answer_tables(frame_of(answer("a", 0.2, low, high)))[0].texts[0][2] == text


def test_workloads_optimizers_and_knobs_are_named_where_there_are_several():
    frame = frame_of(answer("a", 0.5, 0.3, 0.9), answer("a", 0.2, 0.1, 0.4, optimizer="adamw", workload="v"))
    assert [table.heading for table in answer_tables(frame)] == ["Largest stable lr on w", "Largest stable lr on v"]
    both = pl.concat([trail("a"), trail("a").with_columns(optimizer=pl.lit("adamw"), workload=pl.lit("v"))])
    assert [one.title for one in search_chapters(frame, both)] == ["Search: w: a, sgd", "Search: v: a, adamw"]


def test_rounds_say_what_was_asked_why_and_what_came():
    (chapter,) = search_chapters(frame_of(answer("a", 0.5, 0.3, 0.9)), trail("a"))
    plain = [tuple(" ".join(cell.split()) for cell in row) for row in chapter.rounds.texts]
    assert plain == [
        ("1", "one value a decade", "0.01 (seed 0): 5; 1 (seed 0): diverged"),
        ("2", "halve", "0.1 (seed 1): no result"),
    ]


def test_a_search_over_a_box_has_settings_instead_of_values():
    box = trail("a").with_columns(value=pl.lit(None, dtype=pl.Float64), setting=pl.lit("lr=0.1, warmup_steps=3"))
    box = box.with_columns(setting=pl.when(pl.col("round") == 2).then(pl.lit("lr=1")).otherwise("setting"))
    found = answer("a", 0.5, 0.3, 0.9, search="tune_box", knob="lr, warmup_steps", best_setting="lr=1")
    (chapter,) = search_chapters(frame_of(found), box)
    assert chapter.answer.startswith("Answer: least loss 0.50 (95% interval [0.30, 0.90]), at lr=1, from 3 trials")
    assert chapter.rounds.texts == (
        ("1", "one value a decade", "lr=0.1, warmup_steps=3: 5, diverged"),
        ("2", "halve", "lr=1: no result"),
    )
    assert chapter.drawn.summary.rows() == [(1, 1, "lr=0.1, warmup_steps=3", 3.0, 3.0, 1), (2, 2, "lr=1", None, 3.0, 0)]
    assert chapter.drawn.draw().to_dict()["layer"]


def test_losses_drawn_are_clipped_at_the_loss_at_init():
    assert asked_trials(trail("a")).select("trial", "state", "loss").rows() == [
        (1, "completed", 3.0),
        (2, "diverged", None),
        (3, "no result", None),
    ]


def test_edges_are_drawn_where_there_are_any():
    assert [one.summary["method"].to_list() for one in edge_figures(TWO)] == [["a", "b", "c"]]
    assert list(edge_figures(frame_of(answer("a", NAN, 0.0, 0.01)))) == []
    assert list(edge_figures(frame_of(answer("a", 0.5, 0.3, 0.9, search="tune")))) == []


FRONT_SCHEMA = {name: getattr(pl, kind) for name, kind in FRONT_COLUMNS.items()}
NO_FRONT = pl.DataFrame(schema=FRONT_SCHEMA)


def searched(answers: pl.DataFrame, decisions: pl.DataFrame, front: pl.DataFrame = NO_FRONT) -> SearchSubject:
    return SearchSubject(
        name="s",
        title="edges",
        facts={"suite": "edges"},
        results=pl.DataFrame(),
        answers=answers,
        trail=decisions,
        front=front,
        read_manifest=lambda: '{"git": "abc"}',
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("search") / "new"
    answers = frame_of(answer("a", 0.5, 0.3, INF), answer(HOSTILE, 0.2, 0.1, 0.4))
    paths = write_report(searched(answers, trail("a", HOSTILE)), out, formats=("html",))
    return out, paths


def test_the_page_comes_first_and_all_files_are_linked(folder):
    out, paths = folder
    assert paths[0] == out / "index.html"
    page = read(paths[0].read_text(encoding="utf-8"))
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a" and not (attrs["href"] or "").startswith("#")}
    assert links == {path.relative_to(out).as_posix() for path in paths[1:]}
    names = {path.name for path in paths}
    assert names > {"search.csv", "search.json", "search.md", "report.md", "trail.csv", "manifest.json", "charts.html"}
    assert (out / "manifest.json").read_text(encoding="utf-8") == '{"git": "abc"}'


def test_the_page_has_a_figure_for_each_search_and_one_of_the_edges(folder):
    page = folder[1][0].read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == 3
    ids = [attrs["id"] for _, attrs in read(page).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_names_are_escaped_and_nothing_is_loaded(folder):
    out, paths = folder
    for path in (paths[0], out / "report.md", out / "search.md"):
        assert "<script" not in path.read_text(encoding="utf-8")
    assert "http" not in paths[0].read_text(encoding="utf-8")


def test_markdown_says_the_same_as_the_page(folder):
    out, paths = folder
    page, markdown = paths[0].read_text(encoding="utf-8"), (out / "report.md").read_text(encoding="utf-8")
    for words in ("one value a decade", "Largest stable lr", "∞", "budget of 3 trials is spent", "git"):
        assert words in page
        assert words in markdown


def test_without_links_the_page_has_none(tmp_path):
    answers = frame_of(answer("a", 0.5, 0.3, 0.9))
    paths = write_report(searched(answers, trail("a")), tmp_path, formats=(), is_linked=False)
    assert "<a " not in paths[0].read_text(encoding="utf-8")


def test_no_finished_round_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match="no round of a search is finished"):
        write_report(searched(TWO.clear(), trail("a")), tmp_path)


def test_the_front_of_mean_and_worst_loss_has_its_table_and_file(tmp_path):
    whose = {"workload": "w", "optimizer": "sgd", "knobs": ""}
    rows = [("a", "lr=0.1", 0.4, 0.6), ("a", "lr=0.01", 0.5, 0.5), (HOSTILE, "lr=1", 0.7, 0.8)]
    names = ("method", "setting", "mean_loss", "worst_loss")
    front = pl.DataFrame([whose | dict(zip(names, row, strict=True)) for row in rows], schema=FRONT_SCHEMA)
    answers = frame_of(*(answer(name, 0.4, 0.3, 0.5, search="tune_box") for name in ("a", HOSTILE)))
    subject = searched(answers, trail("a", HOSTILE), front)
    write_report(subject, tmp_path / "with", formats=())
    page = (tmp_path / "with/index.html").read_text(encoding="utf-8")
    read(page)
    assert all(text in page for text in ("Front of mean and worst loss", "lr=0.01", "0.500"))
    assert HOSTILE not in page
    assert pl.read_csv(tmp_path / "with/front.csv").select(names).rows() == rows
    assert any(frame.equals(front) for frame in view_of(subject).frames(subject)), "a terminal shows it"
    without = write_report(searched(answers, trail("a", HOSTILE)), tmp_path / "without", formats=())
    assert "front.csv" not in {path.name for path in without}
