"""Tables at any width: whole numbers, names that fold between words, columns that go by priority, nothing lost."""

import itertools
import re

import polars as pl
import pytest

from analysis.tables.forms.table import Number, Table, columns
from bench.cli.terminal import frame_text, sentences_text, shown_width, table_text
from tests.command_line import bench_here

METHODS = [
    "softmax",
    "sigma_reparam_qk",
    "qk_layernorm(epsilon=1e-05, per_head=True)",
    "window_softmax(width=8)",
    "relu",
]
WIDTHS = (80, 100, 120, 160)


def board() -> pl.DataFrame:
    """20 entries: 5 methods, 2 optimizers, 2 settings."""
    entries = list(itertools.product(METHODS, ["adamw", "sgd_momentum(momentum=0.9)"], ["beta=0.5", "beta=1.0"]))
    scores = [0.1 + 0.0123 * place for place in range(len(entries))]
    return pl.DataFrame(
        {
            "rank": ["1-20"] * 20,
            "workload": ["in_context_regression(batch_size=128, depth=5, dimension=4, num_pairs=20, num_steps=5000)"]
            * 20,
            **dict(zip(("method", "optimizer", "knobs"), map(list, zip(*entries, strict=True)), strict=True)),
            "lr_sensitivity": scores,
            "ci_low": [score - 0.0456 for score in scores],
            "ci_high": [score + 0.0456 for score in scores],
            "best_loss": [12.345 + score for score in scores],
            "best_lr": [0.003 + score / 100 for score in scores],
            "diverged_share": [score / 7 for score in scores],
            "num_seeds": [5] * 20,
            "num_trials": [35 + place for place in range(20)],
            "flags": ["coarse_cliff,needs_seeds", "blown_up"] * 10,
        }
    )


def at(monkeypatch, width: int, frame: pl.DataFrame, **options) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    return frame_text(frame, **options)


@pytest.mark.parametrize("width", [*WIDTHS, 300])
def test_no_line_is_wider_than_the_terminal_and_every_score_is_whole(monkeypatch, width):
    text = at(monkeypatch, width, board())
    assert max(map(len, text.splitlines())) <= width
    assert re.findall(r"(?<!\S)\d\.\d+ \[\d\.\d+, \d\.\d+\]", text) == [
        f"{score:.3f} [{low:.3f}, {high:.3f}]"
        for score, low, high in board().select("lr_sensitivity", "ci_low", "ci_high").iter_rows()
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_names_fold_between_words_and_knobs_that_differ_are_shown(monkeypatch, width):
    words = set(at(monkeypatch, width, board()).split())
    whole = {"softmax", "sigma_reparam_qk", "relu", "adamw", "beta=0.5", "beta=1.0", "lr_sensitivity", "knobs"}
    assert whole <= words
    for name in (*METHODS, "sgd_momentum(momentum=0.9)"):
        assert set(re.split(r"(?<=[(,]) ?", name)) <= words or set(name.split()) <= words, name


def test_columns_go_by_priority_and_are_named(monkeypatch):
    text = at(monkeypatch, 100, board())
    assert "not shown in 100 columns:" in text
    assert "on every row: num_seeds 5" in text
    left_out = {width: set(_left_out(at(monkeypatch, width, board()))) for width in WIDTHS}
    assert left_out[80] >= left_out[100] >= left_out[120] >= left_out[160]
    assert "num_trials" in left_out[80]


def test_how_many_trials_a_search_took_stays_longer_than_what_is_counted_in_them(monkeypatch):
    counts = {"num_trials_to_target": [80, 120], "num_trials": [240, 235], "num_rounds": [12, 11]}
    names = {"method": ["softmax", "relu_kernel"], "best_setting": ["lr=0.01, warmup_steps=20", "lr=0.1"]}
    answers = pl.DataFrame({"workload": ["w"] * 2, **names, "value": [0.1, 0.2], **counts, "note": ["spent", "done"]})
    seen = [set(_left_out(at(monkeypatch, width, answers))) & counts.keys() for width in range(30, 121)]
    assert {frozenset(one) for one in seen} == {
        frozenset(list(counts)[:0]),
        frozenset({"num_rounds"}),
        frozenset({"num_rounds", "num_trials_to_target"}),
        frozenset(counts),
    }


def _left_out(text: str) -> list[str]:
    found = re.search(r"not shown in \d+ columns: ([^;]*);", " ".join(text.split()))
    return found[1].split(", ") if found else []


def test_wide_shows_every_column(monkeypatch):
    text = at(monkeypatch, 80, board(), is_wide=True)
    titles = (
        "best_loss",
        "best_lr",
        "diverged_share",
        "num_trials",
        "flags",
        "qk_layernorm(epsilon=1e-05, per_head=True)",
    )
    assert all(title in text for title in titles)
    assert "not shown" not in text


def test_columns_is_honoured_in_a_pipe_and_without_it_there_is_no_limit(monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    assert shown_width(is_wide=False) == 77
    assert shown_width(is_wide=True) is None
    monkeypatch.delenv("COLUMNS")
    assert shown_width(is_wide=False) is None  # tests have no terminal


def test_numbers_that_all_stay_stand_in_several_blocks_of_whole_rows(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    titles = ("Method", *(f"c{place}" for place in range(5)))
    rows = tuple((name, *(Number(value=0.5, low=0.25, high=0.75, decimals=2) for _ in range(5))) for name in "ab")
    text = table_text(Table(heading="h", columns=columns(*titles), rows=rows), numbers="left")
    assert max(map(len, text.splitlines())) <= 50
    assert text.count("0.50 [0.25, 0.75]") == 10
    assert len(re.findall(r"^a ", text, re.MULTILINE)) == text.count("Method") == 3


@pytest.mark.parametrize("name", ["[/b]", "[bold]softmax[/bold]", ":smile:", "[1, 2]"])
def test_a_name_is_shown_as_it_is(name):
    table = frame_text(pl.DataFrame({"workload": ["w"], "method": [name], "score": [1.5]}))
    assert [line.split() for line in table.splitlines()] == [["w"], ["method", "score"], [*name.split(), "1.5"]]


def test_a_name_cannot_steer_the_terminal():
    text = frame_text(pl.DataFrame({"workload": ["w\x1b[2J"], "method": ["a\r\x1b]0;t\x07\nb"], "score": [1.5]}))
    assert text.splitlines()[0] == "w\\x1b[2J"
    assert "a\\r\\x1b]0;t\\x07\\nb" in text


def test_flags_that_have_no_room_are_said_below(monkeypatch):
    """What makes a score misleading stands beside it at any width: by name where few bear it, else counted."""
    monkeypatch.setenv("COLUMNS", "80")
    flags = ["learned_little,needs_seeds", *["needs_seeds"] * 4, *["blown_up"] * 15]
    text = frame_text(board().with_columns(flags=pl.Series(flags)))
    told = " ".join(text[text.index("flagged ") :].split())
    assert told == "flagged learned_little: softmax adamw beta=0.5; needs_seeds: 5 of 20 rows; blown_up: 15 of 20 rows"
    monkeypatch.setenv("COLUMNS", "200")
    assert "flagged" not in frame_text(board())


def test_titles_never_fold_within_a_word(monkeypatch):
    """Numbers stand in two blocks before first_long_title becomes three lines."""
    rows = (("a" * 20, Number(value=1.25), Number(value=2.5)),)
    table = Table(heading="", columns=columns("method", "first_long_title", "second_long_title"), rows=rows)
    longest = {}
    for width in (46, 56, 57):
        monkeypatch.setenv("COLUMNS", str(width))
        text = table_text(table)
        assert {"method", "first_long_title", "second_long_title", "1.25", "2.5"} <= set(text.split())
        longest[width] = max(map(len, text.splitlines()))
    assert longest == {46: 20 + 2 + 17, 56: 20 + 2 + 17, 57: 20 + 2 + 16 + 2 + 17}


def test_names_of_an_entry_stand_in_one_column_where_there_is_no_room(monkeypatch):
    text = at(monkeypatch, 60, board())
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("method, optimizer, knobs") == 1
    assert len(re.findall(r"\d\.\d+ \[\d\.\d+, \d\.\d+\]", text)) == 20
    named = " ".join(re.sub(r"\d\.\d+ \[.*?\]|^1-20", "", text, flags=re.MULTILINE).split())
    assert "qk_layernorm(epsilon=1e-05, per_head=True), sgd_momentum(momentum=0.9), beta=1.0" in re.sub(
        r"(?<=[(_=]) ", "", named
    )


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_each_block_has_what_tells_rows_apart(monkeypatch, width):
    """Of a knob that is a number, too: a difference without the rate that it is at says nothing."""
    monkeypatch.setenv("COLUMNS", str(width))
    rows = tuple(
        ("softmax", Number(value=lr), *(Number(value=0.5, low=0.25, high=0.75, decimals=2) for _ in range(5)))
        for lr in (0.001, 0.003)
    )
    text = table_text(Table(heading="h", columns=columns("Method", "lr", *"abcde"), rows=rows))
    assert max(map(len, text.splitlines())) <= width
    assert text.count("0.001") == text.count("0.003") == text.count("Method")
    assert text.count("0.50 [0.25, 0.75]") == 10


@pytest.mark.parametrize("width", [60, *WIDTHS])
def test_sentences_fold_between_words_and_are_one_line_without_a_terminal(monkeypatch, width):
    sentences = ["Best mean rank under LR sensitivity: " + ", ".join(METHODS) + ", 1.75 of 4.", "Second."]
    monkeypatch.setenv("COLUMNS", str(width))
    text = sentences_text(sentences)
    assert max(map(len, text.splitlines())) <= width
    assert text.split() == " ".join(sentences).split()
    monkeypatch.delenv("COLUMNS")
    assert sentences_text(sentences) == "\n".join(sentences) + "\n"


@pytest.mark.parametrize("kind", ["", "methods", "workloads", "scores"])
def test_lists_fold_between_words_in_a_terminal_and_are_a_line_an_entry_in_a_pipe(tmp_path, kind):
    words = ["list", *([kind] if kind else [])]
    lines = bench_here(tmp_path, *words, columns=None).stdout.splitlines()
    assert all(": " in line for line in lines)
    folded = bench_here(tmp_path, *words, columns=80).stdout
    assert max(map(len, folded.splitlines())) <= 80
    assert folded.split() == " ".join(lines).split()
    assert len([line for line in folded.splitlines() if not line.startswith("  ")]) == len(lines)
