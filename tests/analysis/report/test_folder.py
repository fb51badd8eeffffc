"""The report folder: complete, self-contained, escaped."""

import base64
import csv
import math
import re
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest

from analysis.figures.frames.aggregate import telling_lr
from analysis.figures.of_a_suite import curve_figures, trials_to_trace
from analysis.losses import choose_loss, has_held_out
from analysis.references import load
from analysis.report.drawing import LONGEST_PLACE, _file_name, few_of_a_kind
from analysis.report.folder import write_report
from bench.errors import UsageError
from bench.held_out import HELD_OUT_COLUMNS
from tests.analysis.scored_results import scored_table
from tests.analysis.synthetic_results import (
    METHODS,
    frame,
    held_out_traces,
    results,
    row,
    subject,
    traces,
    with_held_out,
)

FEW = {name: METHODS[name] for name in ("softmax", "relu_kernel")}
HOSTILE = "<script>alert('x')</script>../a_b%"


def written(path, data, *, loss="train", **more):
    all_traces = pl.concat([traces(data), held_out_traces(data)]) if has_held_out(data) else traces(data)
    return write_report(subject(data, all_traces, loss=loss, **more), path, formats=())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    data = results(num_seeds=3)
    lr = telling_lr(data)
    out = tmp_path_factory.mktemp("report") / "new"
    shown = subject(
        data,
        traces(data.filter((pl.col("lr") - lr).abs() < 1e-9)),
        title="Seven methods",
        facts={"suite": "paper_table1", "seeds": [0, 1, 2]},
        read_manifest=lambda: '{"git": "abc"}',
        published=load("paper"),
    )
    paths = write_report(shown, out)
    return out, paths


def test_all_files_are_there(report):
    out, paths = report
    assert paths[0] == out / "index.html"
    assert all(path.stat().st_size for path in paths)
    names = {path.relative_to(out).as_posix() for path in paths}
    tables = {f"leaderboard.{suffix}" for suffix in ("csv", "md", "tex", "json")}
    figures = {f"figures/{kind}-in_context_regression_sgd.{suffix}" for suffix in ("svg", "png", "pdf", "csv")
               for kind in ("loss_against_lr", "training_behaviour", "entropy_by_layer", "diverged_map")}  # fmt: skip
    pages = {"index.html", "charts.html", "report.md"}
    assert pages | {"curves.csv", "comparison.csv", "manifest.json"} | tables | figures <= names
    assert {path.as_posix() for path in out.rglob("*") if path.is_file()} == {path.as_posix() for path in paths}


def test_the_manifest_is_written_as_it_is(report):
    assert (report[0] / "manifest.json").read_text(encoding="utf-8") == '{"git": "abc"}'


def test_what_a_figure_draws_lies_beside_it(report):
    """Mean entropy of a layer over seeds, worked out from the traces."""
    out, _ = report
    shown = pl.read_csv(out / "figures/entropy_by_layer-in_context_regression_sgd.csv")
    data = results(num_seeds=3)
    lr = telling_lr(data)
    chosen = data.filter((pl.col("lr") - lr).abs() < 1e-9, method="softmax", outcome="completed")
    expected = traces(chosen).filter(quantity="entropy", layer=0, step=0)["value"].mean()
    found = shown.filter(method="softmax", outcome="completed", layer=0, step=0)["value"].item()
    assert found == pytest.approx(expected)


def test_page_is_self_contained(report):
    out, _ = report
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    assert "<link" not in page
    sources = re.findall(r'src="([^"]{0,30})', page)
    assert len(sources) >= 4
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)


def test_figures_in_the_page_refer_to_nothing_outside(report):
    out, _ = report
    page = (out / "index.html").read_text(encoding="utf-8")
    images = re.findall(r"base64,([^\"]+)", page)
    assert len(images) >= 4
    for data in images:
        svg = base64.b64decode(data).decode()
        assert re.findall(r"https?://[^\"' )]+", re.sub(r'xmlns(:\w+)?="[^"]+"', "", svg)) == []


def test_page_links_exist(report):
    out, _ = report
    page = (out / "index.html").read_text(encoding="utf-8")
    links = [link for link in re.findall(r'href="([^"]+)"', page) if not link.startswith("#")]
    assert len(links) >= 10
    assert all((out / link).is_file() for link in links)


@pytest.mark.parametrize("loss", [pytest.param("train", marks=pytest.mark.slow), "validation"])
def test_report_on_held_out_data(tmp_path, loss):
    data = with_held_out(results(num_seeds=2, methods=FEW))
    paths = written(tmp_path, data, loss=loss)
    names = {path.name for path in paths}
    kinds = ("loss_against_lr", "val_loss_against_lr", "training_behaviour", "entropy_by_layer")
    assert {f"{kind}-in_context_regression_sgd.svg" for kind in kinds} <= names
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for words in ("<h2>Generalisation</h2>", "Calibration error", "Generalisation gap", "Guo et al. 2017"):
        assert words in page
    assert ("Scores are of the held-out loss" in page) == (loss == "validation")
    with (tmp_path / "curves.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    measured = [name for name in HELD_OUT_COLUMNS if data[name].is_not_null().any()]
    assert 4 <= len(measured) < len(HELD_OUT_COLUMNS)
    assert [name for name in rows[0] if name in HELD_OUT_COLUMNS] == measured
    assert sorted(float(row["final_loss"]) for row in rows) == sorted(data["final_loss"])  # whichever loss is scored
    lr = telling_lr(choose_loss(data, loss))
    assert f"at lr = {lr:g}, where methods differ most" in page


def test_report_without_held_out_data_does_not_mention_them(report):
    out, _ = report
    for name in ("index.html", "leaderboard.md", "leaderboard.tex"):
        text = (out / name).read_text(encoding="utf-8")
        assert "Generalisation" not in text
        assert "held-out" not in text


def test_validation_report_without_held_out_data_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(UsageError, match="no trial of 'in_context_regression' has a held-out loss"):
        written(tmp_path / "out", results(num_seeds=1), loss="validation")
    assert not (tmp_path / "out").exists()


def test_curves_hold_every_trial(report):
    out, _ = report
    with (out / "curves.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 * 19 * 3
    expected = ["workload", "method", "optimizer", "lr", "seed", "final_loss", "initial_loss", "outcome"]
    assert list(rows[0])[:8] == expected
    assert {row["outcome"] for row in rows if math.isinf(float(row["final_loss"]))} == {"diverged"}


def test_hostile_names_are_escaped_and_stay_inside_the_folder(tmp_path):
    data = frame(
        [row(HOSTILE, lr, seed, 1.0 + lr, workload=HOSTILE, optimizer=HOSTILE) for lr in (0.1, 1.0) for seed in (0, 1)]
    )
    out = tmp_path / "report"
    paths = write_report(
        subject(data, title=HOSTILE, facts={HOSTILE: HOSTILE, "more": {"a": HOSTILE}}, num_keys=4), out
    )
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<script" not in (out / "leaderboard.md").read_text(encoding="utf-8")
    assert all(path.resolve().is_relative_to(out.resolve()) for path in paths)
    assert list(tmp_path.iterdir()) == [out]


def test_workloads_optimizers_and_knobs_have_their_own_figures(tmp_path):
    data = frame(
        [
            row("m", lr, 0, 1.0 + lr, workload=workload, warmup_steps=warmup)
            for lr in (0.1, 1.0)
            for workload, warmup in (("a b", 0.0), ("a b", 5.0), ("a_b", 0.0))
        ]
    )
    paths = write_report(subject(data, num_keys={"a b": 4, "a_b": 5}), tmp_path, formats=())
    names = [path.name for path in paths if path.suffix == ".svg"]
    assert sorted(name.split("-")[0] for name in names) == ["joint_map_warmup_steps"] + ["loss_against_lr"] * 3
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    heading = page.index("<h2>Other knobs</h2>")
    assert (
        heading
        < page.index("Final training loss over lr and warmup_steps", heading)
        < page.index("</section>", heading)
    )


def test_measures_of_all_trials_add_the_scores_from_traces(tmp_path):
    data = results(num_seeds=2, methods=FEW)
    write_report(subject(data, traces(data), is_measured=True), tmp_path, formats=())
    expected = scored_table(data, traces(data), 21, "train")
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8") == expected.write_csv()
    assert "Steps to target" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_traces_of_the_named_trials_are_enough():
    data = results(num_seeds=2)
    named = trials_to_trace(subject(data, traces(data)))
    assert data.filter(pl.col("trial_id").is_in(named))["lr"].unique().to_list() == [telling_lr(data)]
    assert len(named) == 7 * 2


def test_workload_without_number_of_keys_is_named(tmp_path):
    data = results(num_seeds=1)
    with pytest.raises(UsageError, match="num_keys lacks the workloads in_context_regression"):
        write_report(subject(data, num_keys={"other": 4}), tmp_path)


@pytest.mark.whole
@pytest.mark.parametrize("width", [390, 700, 1280])
def test_page_fits_the_window_of_a_real_browser(report, browser, width):
    out, _ = report
    asked: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.on("request", lambda request: asked.append(request.url))
    page.goto((out / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 100)")
    assert all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.whole
def test_a_window_of_1180_pixels_shows_a_board_with_its_flags(report, browser):
    """Nothing to scroll for, with a share of every kind of bad end."""
    page = browser.new_page(viewport={"width": 1180, "height": 800})
    page.goto((report[0] / "index.html").as_uri())
    heads = page.evaluate("[...document.querySelectorAll('.board thead th')].map(one => one.innerText)")
    assert {"Diverged", "Stuck", "Flags"} <= {" ".join(one.split()) for one in heads}
    boards = "[...document.querySelectorAll('.scroll:has(.board)')]"
    assert page.evaluate(f"{boards}.map(one => one.scrollWidth - one.clientWidth)") == [0] * page.evaluate(
        f"{boards}.length"
    )


@pytest.mark.whole
def test_page_prints_as_a_page_and_not_as_a_phones_cards(report, browser):
    """On A4 less its margins: 182 mm are 688 pixels."""
    page = browser.new_page(viewport={"width": 688, "height": 1000})
    page.emulate_media(media="print")
    page.goto((report[0] / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    assert page.evaluate("getComputedStyle(document.querySelector('.board tr')).display") == "table-row"
    assert page.evaluate("getComputedStyle(document.querySelector('.board thead')).display") == "table-header-group"
    assert page.evaluate("[...document.images].every(image => image.getBoundingClientRect().right <= 688)")
    assert page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") < 30


@pytest.mark.whole
@pytest.mark.parametrize(("scheme", "is_light"), [("light", True), ("dark", False)])
def test_figures_are_dark_where_the_page_is(report, browser, scheme, is_light):
    """Brightness of a corner of the first figure, drawn onto a canvas as the page shows it."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page.goto((report[0] / "index.html").as_uri())
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == is_light
    level = page.evaluate(
        """async () => {
            const image = document.images[0], canvas = document.createElement("canvas");
            canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            return context.getImageData(2, 2, 1, 1).data[0];
        }"""
    )
    assert (level > 240) == is_light


@pytest.mark.whole
def test_charts_are_drawn_by_a_real_browser_and_load_nothing(report, browser):
    asked: list[str] = []
    errors: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((report[0] / "charts.html").as_uri())
    page.wait_for_function("document.querySelectorAll('svg.marks').length >= 4", timeout=60_000)
    assert errors == []
    assert all(url.startswith("file:") for url in asked)


def test_page_without_links_says_the_same(tmp_path):
    data = results(num_seeds=2, methods=FEW)
    pages = {}
    for is_linked in (True, False):
        out = tmp_path / str(is_linked)
        write_report(subject(data), out, formats=(), is_linked=is_linked)
        pages[is_linked] = (out / "index.html").read_text(encoding="utf-8")
    assert "<a " not in pages[False]
    assert "few seeds</span>" in pages[False]
    board = [page[page.index("<tbody") : page.index("</tbody>")] for page in pages.values()]
    assert re.sub("<[^>]*>", "", board[0]) == re.sub("<[^>]*>", "", board[1])


def test_entries_of_imported_trials_are_flagged(tmp_path):
    data = results(num_seeds=2, methods=FEW)
    imported = data.filter(method="softmax")["trial_id"].to_list()
    write_report(subject(data, imported=imported), tmp_path, formats=())
    flags = dict(pl.read_csv(tmp_path / "leaderboard.csv").select("method", "flags").iter_rows())
    assert {method: flags[method].endswith("imported") for method in flags} == {"softmax": True, "relu_kernel": False}


def test_nothing_to_report_is_said(tmp_path):
    with pytest.raises(UsageError, match="nothing to report"):
        write_report(subject(frame([])), tmp_path)


def test_of_hundreds_of_settings_some_are_drawn_and_how_many_are_not_is_said():
    data = results(num_seeds=1, methods=FEW)
    few = next(curve_figures(subject(data)))
    many = [
        ("Curves", replace(few, kind=kind)) for kind, number in (("a", 43), ("b", 40), ("c", 1)) for _ in range(number)
    ]
    shown = list(few_of_a_kind(many))
    assert Counter(drawn.kind for _, drawn, _ in shown) == {"a": 40, "b": 40, "c": 1}
    remarks = {drawn.kind: remark for _, drawn, remark in shown if remark}
    assert remarks == {"a": " (3 more of this kind are not drawn; tables have their numbers)"}


def test_names_of_figures_keep_what_places_end_with():
    used = set[str]()
    place = "speech_recognition(num_steps=1000, final_loss_steps=50, eval_every_steps=250, num_words=3), adam"
    names = [_file_name("loss", f"{place}, warmup_steps={steps}", used) for steps in (0, 100)]
    assert [name.rpartition("_")[2] for name in names] == ["steps=0", "steps=100"]
    assert all(name.startswith("loss-speech_recognition_num_steps=1000") for name in names)
    assert max(map(len, names)) <= len("loss-") + LONGEST_PLACE
    assert _file_name("loss", f"{place}, warmup_steps=0", used) == f"{names[0]}-2"
    assert _file_name("loss", "a (b), lr=0.1", used) == "loss-a_b_lr=0.1"
    assert len(_file_name("loss", "x" * 300, used)) <= len("loss-") + LONGEST_PLACE
