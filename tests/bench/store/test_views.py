"""Saved views of MLflow's runs page as JSON: which runs, which columns first, what is drawn."""

import json

from bench.store.views import CHARTS, MAX_VIEW, VIEWS, charts_view, leaderboard_view, trials_view, view_query, view_tag


def test_a_leaderboard_has_rank_and_score_before_all_else_and_shows_method_runs():
    view = json.loads(leaderboard_view(["val_loss", "best_loss", "lr_sensitivity", "rank"]))
    assert view["selectedColumns"][:4] == [f"metrics.`{name}`" for name in
                                           ("rank", "lr_sensitivity", "best_loss", "val_loss")]  # fmt: skip
    assert view["orderByKey"] == "metrics.`lr_sensitivity`"
    assert "'method'" in view["searchFilter"]


def test_names_come_first_then_texts_of_few_digits_and_both_have_room():
    view = json.loads(leaderboard_view(["lr_sensitivity"], ["LR sensitivity", "Best loss"]))
    name, *texts = "attributes.`Run Name`", "tags.`LR sensitivity`", "tags.`Best loss`"
    assert view["columnOrder"][:4] == [name, *texts, "metrics.`lr_sensitivity`"]
    assert view["columnWidths"].keys() == {name, *texts}
    assert view["orderByKey"] == "metrics.`lr_sensitivity`"


def test_trials_have_method_lr_and_seed_before_other_knobs_then_loss_and_outcome():
    view = json.loads(trials_view(["seed", "width", "lr", "method"]))
    names = [column.partition("`")[2].rstrip("`") for column in view["columnOrder"]]
    assert names[:5] == ["Run Name", "method", "lr", "seed", "width"]
    assert names[5:] == ["Final loss", "Loss at init", "bench.outcome", "final_loss", "initial_loss"]
    assert view["orderByKey"] == "metrics.`final_loss`"
    assert "'trial'" in view["searchFilter"]


def test_charts_are_lines_of_loss_entropy_and_gradient_norm_grouped_by_method():
    view = json.loads(charts_view())
    assert [chart["metricKey"] for chart in view["compareRunCharts"]] == ["loss", "entropy_mean", "grad_norm"]
    assert view["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "method"}]


def test_a_view_fits_the_tag_that_holds_it():
    many = [f"a_rather_long_name_of_a_knob_{number}" for number in range(300)]
    for text in (leaderboard_view(many), trials_view(many), charts_view()):
        assert len(text) <= MAX_VIEW
        json.loads(text)


def test_a_link_names_the_view_once_there_is_one_and_what_it_filters_before():
    for name in VIEWS:
        assert f"viewStateShareKey={name}" in view_query(name, {view_tag(name): "{}"})
        assert "searchFilter=" in view_query(name, {})
        assert ("compareRunsMode=CHART" in view_query(name, {})) == (name == CHARTS)
