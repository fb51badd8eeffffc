"""Methods over conditions as text: every number where it belongs, marks and verdict in words, names escaped."""

import functools
import io
import json
from dataclasses import replace

import polars as pl
import pytest

from analysis.across.conditions import conditions
from analysis.across.ranking import AcrossBoard, across_board
from analysis.tables.across import (
    board_csv,
    board_json,
    board_latex,
    board_markdown,
    board_tables,
    reading_note,
    verdict,
)
from tests.analysis.across.side_frames import AT_CHANCE, LITTLE, side
from tests.analysis.latex_documents import compiled_body, complaints

HOSTILE = "<script>|&%$#_{}~^\\"


def board(*workloads: dict[str, float | str], score: str = "lr_sensitivity") -> AcrossBoard:
    sides = {
        f"side{place}": side(values, workload=f"w{place}", floor=1.0 - place / 50)
        for place, values in enumerate(workloads)
    }
    return across_board(conditions(sides, "train"), score)


HAND = ({"a": 0.2, "b": 0.3, "c": 0.8}, {"a": 0.4, "b": 0.2, "c": 0.5}, {"a": 0.1, "b": 0.6, "c": 0.15})
FLAGGED = ({"a": 0.2, "b": 0.3, "c": 0.8, "d": 0.1}, {"a": 0.4, "b": AT_CHANCE, "c": LITTLE})
ORDERED = tuple({"a": 0.1 + place / 50, "b": 0.4, "c": 0.9} for place in range(5))


@functools.cache
def known(name: str) -> AcrossBoard:
    return board(*{"hand": HAND, "flagged": FLAGGED, "ordered": ORDERED}[name])


def test_the_first_table_has_mean_rank_profile_and_every_score():
    table = board_tables(known("hand"))[0]
    assert table.heading == "LR sensitivity over 3 conditions"
    assert table.titles == ("Method", "Mean rank", "Profile", "w0", "w1", "w2")
    first = table.texts[0]
    assert first[:3] == ("a", "1.33", "0.89")
    assert [cell.partition(" ")[0].rstrip("†") for cell in first[3:]] == ["0.200", "0.400", "0.100"]


def test_a_method_without_a_rank_and_a_score_that_is_missing_are_dashes():
    rows = {row[0]: row for row in board_tables(known("flagged"))[0].texts}
    assert rows["d"][1:3] == ("–", "–")
    assert rows["d"][4] == "–"


def test_marks_say_who_did_not_learn_and_the_note_says_what_they_mean():
    rows = {row[0]: row for row in board_tables(known("flagged"))[0].texts}
    assert rows["b"][4].startswith("0.025*")
    assert rows["c"][4].startswith("0.050‡")
    assert "*: at chance" in reading_note(known("flagged"))
    assert "at chance" not in reading_note(known("hand"))


def test_censored_edges_are_lower_bounds():
    found = board({"a": 0.2, "b": 0.9, "c": 0.3}, {"a": 0.2, "b": 0.9, "c": 0.9}, score="edge_lr")
    rows = {row[0]: row for row in board_tables(found)[0].texts}
    assert rows["a"][3].startswith("≥ 1")
    assert rows["b"][3].startswith("0.1")
    assert "higher is better" in reading_note(found)


def test_many_conditions_go_on_in_further_tables():
    tables = board_tables(known("ordered"))
    assert [table.titles[-1] for table in tables[:2]] == ["w3", "w4"]
    assert tables[1].heading == "LR sensitivity over 5 conditions, continued"
    assert tables[1].titles[:2] == ("Method", "w4")
    assert [row[0] for row in tables[0].texts] == [row[0] for row in tables[1].rows]


def test_the_other_tables_say_what_conditions_are_and_how_scores_rank_and_agree():
    found = {table.heading: table for table in board_tables(known("hand"))}
    assert found["Conditions"].texts[0] == ("w0", "side0", "w0", "sgd", "–", "3", "2")
    ranks = found["Mean rank under each score"]
    assert ranks.titles[:2] == ("Method", "LR sensitivity")
    assert [row[1] for row in ranks.texts] == ["1.33", "2.00", "2.67", "3"]
    agreement = found["Rank correlation with LR sensitivity"]
    assert ("LR sensitivity, seedwise", "1.00", "1.00", "3") in agreement.texts


def test_the_verdict_names_the_best_the_test_and_the_groups():
    lines = verdict(known("ordered"))
    assert lines == [
        "Best mean rank under LR sensitivity: a, 1.00 of 3",
        # 12 * 5 / (3 * 4) * ((1 - 2)^2 + (3 - 2)^2) = 10, the most there is; one order of 6 on all: 1 / 6^4.
        "Friedman's test over 5 conditions and 3 methods: chi2 10, p 0.00077 (exact); critical difference of mean "
        "ranks 1.48 (Nemenyi, 5%)",
        "Not separated: a, b; b, c",
    ]


def test_the_verdict_names_what_is_apart_from_all_and_where_nothing_is():
    found = known("ordered")
    assert verdict(replace(found, groups=(("b", "c"),)))[2] == "Not separated: b, c; separated from all others: a"
    assert verdict(replace(found, groups=()))[2] == "Separated from all others: a, b, c"
    assert verdict(known("hand"))[2] == "No method is separated from another"


def under_two_optimizers(**columns) -> pl.DataFrame:
    parts = [side(HAND[0], optimizer=name, floor=floor, **columns) for name, floor in (("sgd", 1.0), ("adamw", 0.9))]
    return pl.concat(parts)


def test_conditions_of_one_workload_are_said_not_to_be_independent():
    lines = verdict(across_board(conditions({"one": under_two_optimizers()}, "train"), "lr_sensitivity"))
    assert lines[1] == (
        "The 2 conditions are of one workload, so share its data and seeds and count as one: Friedman's test takes two "
        "independent ones at least, none is made, and mean ranks only describe"
    )
    sides = {"one": under_two_optimizers(workload="v"), "two": side(HAND[1], workload="w", floor=0.8)}
    lines = verdict(across_board(conditions(sides, "train"), "lr_sensitivity"))
    assert lines[1].startswith(
        "Friedman's test over 2 independent workloads (ranks averaged over the 3 conditions, which share data and "
        "seeds within a workload) and 3 methods: "
    )


@pytest.mark.parametrize(("num_conditions", "more"), [(10, ", rough with so few"), (11, "")])
def test_a_p_value_of_too_many_cases_is_said_to_be_approximate(num_conditions, more):
    found = known("ordered")
    assert found.test is not None
    methods = pl.DataFrame({"method": list("abcdef"), "mean_rank": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    test = replace(found.test, mean_ranks=methods, num_workloads=num_conditions, p_is_exact=False)
    assert f"p 0.00077 (by the chi-square distribution{more});" in verdict(replace(found, test=test))[1]


def test_the_verdict_ends_with_what_was_left_out():
    lines = verdict(board(*FLAGGED, dict.fromkeys("abc", AT_CHANCE)))
    assert lines[-2:] == [
        "Left out: w2, sgd of side2: no method learned there",
        "Not on all 2 conditions, so not ranked: d",
    ]
    pair = [{"a": 0.2, "b": 0.3}, {"a": 0.3, "b": 0.1}]
    assert verdict(board(*pair)) == [
        "Best mean rank under LR sensitivity: a, b, 1.50 of 2",
        "Friedman's test takes three methods on all conditions at least, got 2: none is made",
    ]


def test_csv_has_a_row_a_score_with_all_that_it_takes_to_use_it():
    rows = pl.read_csv(io.StringIO(board_csv(known("flagged"))))
    assert rows.height == 4 + 3
    row = rows.filter(condition="w0", method="a").row(0, named=True)
    expected = {"side": "side0", "workload": "w0", "optimizer": "sgd", "score": "lr_sensitivity", "mean_rank": 1.0}
    assert {name: row[name] for name in expected} == expected
    assert row["value"] == pytest.approx(0.2)


def test_json_has_everything():
    found = json.loads(board_json(known("ordered")))
    assert found["test"]["statistic"] == pytest.approx(10)
    assert (found["test"]["p_value"], found["test"]["p_is_exact"]) == (pytest.approx(6**-4), True)
    assert found["not_separated"] == [["a", "b"], ["b", "c"]]
    assert [row["method"] for row in found["methods"]] == ["a", "b", "c"]
    assert len(found["scores"]) == 15
    assert json.loads(board_json(board({"a": 0.2, "b": 0.3}, {"a": 0.3, "b": 0.1})))["test"] is None


def test_hostile_names_are_escaped():
    named = [{f"{HOSTILE}a": values["a"], "b": values["b"], "c": values["c"]} for values in HAND]
    text = board_markdown(board(*named))
    assert "<script" not in text
    assert "\\|&amp;" in text
    assert "\\textbackslash{}a" in board_latex(board(*named))


def test_latex_says_the_conditions_in_the_first_caption():
    text = board_latex(known("hand"))
    assert "Conditions: w0: w0, sgd of side0; w1: w1, sgd of side1; w2: w2, sgd of side2." in text
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 1 + 3 + 1
    assert text.count("Mean rank over conditions") == 1


@pytest.mark.slow
def test_latex_of_our_longest_names_fits_a_page(tmp_path):
    names = ("qk_layernorm_weight_clipped", "sigma_reparam_qk", "a_b")
    sides = {
        f"suite{place}": side(
            dict(zip(names, (0.2, 0.9, LITTLE if place else AT_CHANCE), strict=True)),
            workload="image_classification(num_steps=1000, final_loss_steps=50)",
            optimizer="adamw(beta2=0.95)",
            floor=1 - place / 50,
        )
        for place in range(4)
    }
    text = board_latex(across_board(conditions(sides, "train"), "edge_lr"))
    assert r"\ddag{}" in text
    assert r"$\geq$" in text
    assert complaints(compiled_body(tmp_path, text)) == []
