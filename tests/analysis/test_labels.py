"""Labels stand for names where people read, and nowhere else."""

import csv
import json

import polars as pl
import pytest

from analysis.figures.frames.aggregate import loss_summary
from analysis.figures.lr_loss import loss_against_lr
from analysis.figures.style.named import named_chart
from analysis.formula import plain_label
from analysis.labels import Labels, labels_in, merged
from analysis.paper.bundle import write_bundle
from analysis.report.folder import write_report
from analysis.text import breakable_latex, escape_latex, marked_math
from tests.analysis.latex_documents import compiled, complaints
from tests.analysis.synthetic_results import METHODS, results, subject, traces

OF = {"sigma_reparam_qk": r"$\sigma$Reparam (QK)", "softmax": "Softmax & co", "in_context_regression": "Regression"}
LABELS = Labels(of=OF)
DATA = results(num_seeds=2, methods={name: METHODS[name] for name in ("softmax", "sigma_reparam_qk")})


@pytest.fixture(scope="module")
def shown():
    return subject(DATA, traces(DATA.filter(pl.col("lr") == DATA["lr"][8])), labels=LABELS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("softmax, adamw", "Softmax & co, adamw"),
        ("softmax(temperature=2.0)", "Softmax & co(temperature=2.0)"),
        ("softmax is ahead of sigma_reparam_qk.", "Softmax & co is ahead of σReparam (QK)."),
        ("window_softmax, softmax_one, my.softmax:Softmax", "window_softmax, softmax_one, my.softmax:Softmax"),
        ("softmax-like softmax.py figures/softmax.svg", "softmax-like softmax.py figures/softmax.svg"),
    ],
)
def test_whole_names_are_replaced_and_no_parts_of_others(text, named):
    assert LABELS.plain.in_text(text) == named


def test_in_latex_a_formula_stays_and_all_else_is_escaped():
    assert escape_latex(LABELS.latex.in_text("sigma_reparam_qk_2 % sigma_reparam_qk")) == (
        r"sigma\_reparam\_qk\_2 \% $\sigma$Reparam (QK)"
    )
    assert breakable_latex(LABELS.latex.in_text("softmax")) == r"Softmax \& co"


def test_marks_around_what_is_no_formula_let_nothing_through():
    assert "\\input" not in escape_latex(marked_math(r"\input{/etc/passwd}"))


def methods(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"workload": ["lm"] * len(names), "method": names})


def test_methods_of_one_import_are_called_without_its_name_where_nothing_else_stands_beside_them():
    alone = methods("softmax(imported=curves)", "window_softmax(width=4)(imported=curves)")
    called = Labels().over(alone).plain
    assert called.in_texts(alone["method"]) == ["softmax", "window_softmax(width=4)"]
    assert LABELS.over(alone).plain.in_text("softmax(imported=curves), adamw") == "Softmax & co, adamw"
    for beside in ("softmax", "softmax(imported=others)"):
        assert not Labels().over(methods("softmax(imported=curves)", beside)).of
    long = "x" * 61
    assert Labels().over(methods("softmax(imported=a)", f"{long}(imported=a)")).of == {"softmax(imported=a)": "softmax"}


def test_beside_other_subjects_an_import_keeps_its_name():
    theirs = LABELS.over(methods("softmax(imported=curves)"))
    assert merged([theirs, Labels()]).of == OF


@pytest.mark.parametrize("label", ["", "$", "a\\b", "a\nb", "x" * 61, r"$\frac{a}{b}$"])
def test_a_label_that_can_not_be_shown_is_refused(label):
    with pytest.raises(ValueError, match=r".+"):
        plain_label(label)


def test_the_label_of_the_only_entry_of_its_name_stands_for_its_parameters_too():
    frame = DATA.with_columns(method=pl.lit("softmax(temperature=2.0)"))
    assert LABELS.over(frame).plain.in_text("softmax(temperature=2.0)") == "Softmax & co"
    both = pl.concat([frame, DATA])
    assert LABELS.over(both).plain.in_text("softmax(temperature=2.0)") == "Softmax & co(temperature=2.0)"


def test_labels_are_read_from_a_manifest_and_broken_ones_are_not():
    assert labels_in(json.dumps({"suite": {"labels": OF}})) == LABELS
    assert labels_in(json.dumps({"suite": {"labels": {"softmax": "$"}}})).of == {}
    assert labels_in(None).of == {}
    assert merged([LABELS, Labels(of={"softmax": "Other", "lion": "Lion"})]).of == {**OF, "lion": "Lion"}


def test_a_chart_has_labels_in_the_colours_of_the_names():
    chart = loss_against_lr(loss_summary(DATA), title="t", subtitle="in_context_regression")
    before, after = (one.to_dict() for one in (chart, named_chart(chart, LABELS.plain)))
    old, new = (one["layer"][1]["encoding"]["color"]["scale"] for one in (before, after))
    assert new == {"domain": ["σReparam (QK)", "Softmax & co"], "range": old["range"]}
    assert old["domain"] == ["sigma_reparam_qk", "softmax"]
    assert after["title"]["subtitle"] == ["Regression"]


@pytest.mark.whole
def test_pages_and_latex_have_labels_and_data_have_names(tmp_path, shown):
    write_report(shown, tmp_path / "report", formats=())
    write_bundle(shown, tmp_path / "bundle")
    people = [path for path in tmp_path.rglob("*") if path.suffix in {".html", ".md", ".tex", ".svg"}]
    assert len(people) > 10
    for path in people:
        text = path.read_text("utf-8").replace("\\", "").replace("<wbr>", "").replace("allowbreak{}", "")
        assert "sigma_reparam_qk" not in text, path
    assert r"$\sigma$Reparam (QK)" in (tmp_path / "bundle" / "tables" / "leaderboard.tex").read_text("utf-8")
    assert "σReparam (QK)" in (tmp_path / "report" / "index.html").read_text("utf-8")
    for name in ("report/leaderboard.csv", "report/curves.csv", "bundle/numbers.csv", "bundle/leaderboard.csv"):
        rows = csv.DictReader((tmp_path / name).read_text("utf-8").splitlines())
        assert {row["method"] for row in rows} == {"sigma_reparam_qk", "softmax"}
    assert complaints(compiled(tmp_path / "bundle")) == []


@pytest.mark.whole
def test_figures_in_serif_carry_their_font(tmp_path, shown):
    write_bundle(shown, tmp_path / "bundle", font="serif")
    svg = (tmp_path / "bundle" / "figures" / "loss_against_lr.svg").read_text("utf-8")
    assert 'font-family:"DejaVu Serif"' in svg
    assert "DejaVu Sans" not in svg
