"""What a report tells beside the leaderboard: only what the suite has, in files, figures and on the page."""

import math

import polars as pl
import pytest

from analysis.report.folder import write_report
from analysis.report.sections import report_sections
from analysis.scores.joint_maps import joint_map
from analysis.scores.knobs import knob_sensitivity
from bench.errors import UsageError
from tests.analysis.synthetic_results import TRACE_SCHEMA, frame, row, subject, with_held_out

NO_TRACES = pl.DataFrame(schema=TRACE_SCHEMA)
HOSTILE = "<script>alert('x')</script>a_b|%"


def suite(*, warmups=(0.0,), optimizers=("sgd",), lrs=(0.01, 0.1, 1.0), methods=("softmax", "m", "n")) -> pl.DataFrame:
    return frame(
        [
            row(
                method,
                lr,
                seed,
                math.inf if lr == 1.0 and warmup < place else 3 - lr - 0.01 * (warmup + seed) - 0.1 * place,
                warmup_steps=warmup,
                optimizer=optimizer,
            )
            for place, method in enumerate(methods)
            for optimizer in optimizers
            for warmup in warmups
            for lr in lrs
            for seed in range(2)
        ]
    )


def told(data: pl.DataFrame, loss: str = "train"):
    return report_sections(subject(data, loss=loss))


def summary(data: pl.DataFrame) -> list[tuple[str, list[str], list[str]]]:
    return [(part.title, sorted(part.files), [drawn.kind for drawn in part.figures]) for part in told(data)]


GUARDS = ("How far to trust the order", ["lr_shift.csv", "seeds_to_separate.csv"], [])
SCORES = ("Other scores", ["score_correlations.csv", "score_differences.csv", "scores.csv"], [])


def test_a_suite_over_lr_alone_has_guards_and_scores_alone():
    assert summary(suite()) == [GUARDS, SCORES]


def test_one_method_has_nothing_to_separate():
    assert summary(suite(methods=("m",))) == [("Other scores", ["scores.csv"], [])]


def test_varied_knobs_have_scores_maps_and_transfer():
    files = ["knob_sensitivity.csv", "lr_transfer.csv", "stable_area.csv"]
    expected = ("Other knobs", files, ["joint_map_warmup_steps"])
    assert summary(suite(warmups=(0.0, 1.0))) == [GUARDS, SCORES, expected]


def test_knobs_without_lr_have_their_score_alone():
    found = summary(suite(warmups=(0.0, 1.0), lrs=(0.1,)))
    assert found[-1] == ("Other knobs", ["knob_sensitivity.csv"], [])


def test_several_optimizers_have_a_matrix():
    files = ["optimizer_matrix.csv", "optimizer_matrix.md", "optimizer_matrix.tex", "rank_correlations.csv"]
    assert summary(suite(optimizers=("sgd", "adamw")))[-1] == ("Optimizers", files, ["optimizer_matrix"])


def test_settings_are_knobs_too():
    data = suite(warmups=(0.0, 1.0))
    texts = pl.when(pl.col("warmup_steps") == 0).then(pl.lit('{"depth":2}')).otherwise(pl.lit('{"depth":4}'))
    deep = data.with_columns(settings=texts, warmup_steps=pl.lit(0.0))
    assert summary(deep)[-1][2] == ["joint_map_depth"]


def test_files_hold_the_frames_of_the_chosen_loss():
    data = with_held_out(suite(warmups=(0.0, 1.0)))
    found = told(data, "validation")[-1]
    chosen = data.with_columns(initial_loss=pl.col("initial_val_loss"), final_loss=pl.col("val_loss"))
    assert found.files["knob_sensitivity.csv"] == knob_sensitivity(chosen, "warmup_steps").write_csv()
    assert found.figures[0].summary.equals(joint_map(chosen, "lr", "warmup_steps"))
    assert "held-out loss" in found.figures[0].title


def test_the_page_shows_every_section_with_its_words():
    data = suite(warmups=(0.0, 1.0), optimizers=("sgd", "adamw"))
    for part in told(data):
        for text in (part.markdown.replace("\\", ""), part.html.replace("<wbr>", "")):
            assert "softmax" in text
            assert "95% interval" in text or "Distance" in text
    assert "loss_lost" in told(data)[2].definitions
    assert "edge_lr" in told(data)[1].definitions


def test_report_of_a_suite_with_knobs_and_optimizers(tmp_path):
    data = suite(warmups=(0.0, 1.0), optimizers=("sgd", "adamw"), methods=("softmax", HOSTILE))
    paths = write_report(subject(data, num_keys=4), tmp_path, formats=())
    names = {path.relative_to(tmp_path).as_posix() for path in paths}
    assert {"knob_sensitivity.csv", "stable_area.csv", "lr_transfer.csv", "optimizer_matrix.md"} <= names
    maps = {name for name in names if name.startswith("figures/joint_map_warmup_steps")}
    place = "figures/joint_map_warmup_steps-in_context_regression"
    assert maps == {f"{place}_{opt}.{suffix}" for opt in ("sgd", "adamw") for suffix in ("svg", "csv")}
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for words in ("<h2>Other knobs</h2>", "<h2>Optimizers</h2>", "Stable area", "Rank correlation", "loss_lost"):
        assert words in page
    assert "<script" not in page
    assert all(path.stat().st_size for path in paths)


def test_what_makes_no_leaderboard_makes_no_sections():
    with pytest.raises(UsageError, match="unknown loss"):
        report_sections(subject(suite(), loss="trian"))
