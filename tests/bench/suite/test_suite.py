"""Suite: what a file or Python code says is exactly what is run."""

import dataclasses
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bench.entry import build, load_class, parameters
from bench.errors import UsageError
from bench.methods import METHODS
from bench.suite import (
    KnobGrid,
    LogGrid,
    Suite,
    find_suite,
    json_schema,
    load_suite,
    shipped_suites,
)
from bench.suite.kinds import KINDS
from bench.trial import KNOB_NAMES, Choice, Knobs
from tests.bench.suite.small_suite import FIELDS, load, suite


def method(entry):
    return suite(methods=[entry]).methods[0]


def test_the_margin_of_what_blew_up_is_no_part_of_a_trial():
    plain, wide = suite(), suite(blown_up_margin=0.5)
    assert [trial.id for trial in wide.expand()] == [trial.id for trial in plain.expand()]
    assert "blown_up_margin" not in plain.model_dump()
    assert wide.model_dump()["blown_up_margin"] == 0.5
    with pytest.raises(UsageError, match="blown_up_margin"):
        suite(blown_up_margin=-0.1)


def test_expand_is_the_product_in_the_documented_order():
    given = suite(
        optimizers=["sgd", "adamw"],
        schedules=["constant", "cosine"],
        knobs={"lr": [0.1, 1.0], "warmup_steps": [0, 10], "weight_decay": [0.0, 0.1]},
    )
    trials = given.expand()
    keys = [
        (
            trial.workload.label,
            trial.method.label,
            trial.optimizer.label,
            trial.schedule.label,
            trial.knobs.warmup_steps,
            trial.knobs.weight_decay,
            trial.knobs.lr,
            trial.seed,
        )
        for trial in trials
    ]
    workloads = ["in_context_regression(num_steps=50)"]
    methods = ["softmax", "window_softmax(width=4)"]
    axes = [workloads, methods, ["sgd", "adamw"], ["constant", "cosine"], [0.0, 10.0], [0.0, 0.1], [0.1, 1.0], [0, 1]]
    assert keys == list(itertools.product(*axes))
    assert len({trial.id for trial in trials}) == len(trials) == given.num_trials == 128


def test_expand_is_the_same_every_time():
    assert suite().expand() == suite().expand()


def test_knobs_that_are_not_given_keep_their_defaults():
    assert suite(knobs={"lr": 0.5}, methods=["softmax"], seeds=1).expand()[0].knobs == Knobs(lr=0.5)


def test_every_lane_knob_can_be_given():
    assert tuple(KnobGrid.model_fields) == KNOB_NAMES
    for name in KNOB_NAMES:
        assert {
            trial.knobs for trial in suite(knobs={"lr": 0.5, name: [0.5 if name != "warmup_steps" else 5]}).expand()
        }


def test_a_count_of_seeds_starts_at_zero():
    assert suite(seeds=3).seeds == (0, 1, 2)
    assert suite(seeds=[7, 3]).seeds == (7, 3)


def test_parameters_are_resolved_in_full():
    choice = suite().workloads[0]
    declared = parameters(load_class("bench.workloads.in_context_regression:InContextRegression"))
    assert set(choice.params) == set(declared)
    assert choice.params["num_steps"] == 50
    assert build(KINDS["workloads"].entries, choice).num_steps == 50


@pytest.mark.parametrize(
    ("entry", "label"),
    [
        ("window_softmax", "window_softmax"),
        ({"name": "window_softmax"}, "window_softmax"),
        ({"name": "window_softmax", "width": 8}, "window_softmax"),
        ({"name": "window_softmax", "width": 4}, "window_softmax(width=4)"),
        ({"name": "relu_kernel", "eps": 1e-6}, "relu_kernel(eps=1e-06)"),
        ({"name": "relu_kernel", "eps": 1}, "relu_kernel(eps=1.0)"),
        ({"name": "relu_kernel", "eps": -0.0}, "relu_kernel"),
    ],
)
def test_label_shows_the_parameters_that_differ_from_the_defaults(entry, label):
    assert method(entry).label == label


def test_label_writes_words_and_switches_as_a_suite_file_does():
    choice = suite(workloads=[{"name": "in_context_regression", "embedding": "learned", "residual": False}]).workloads[
        0
    ]
    assert choice.label == "in_context_regression(embedding=learned, residual=false)"


def test_id_does_not_depend_on_how_a_number_is_written():
    written = [suite(methods=[{"name": "relu_kernel", "eps": eps}]).expand()[0].id for eps in (1, 1.0)]
    assert written[0] == written[1]
    written = [suite(methods=[{"name": "relu_kernel", "eps": eps}]).expand()[0].id for eps in (0, 0.0, -0.0)]
    assert len(set(written)) == 1


def test_grid_of_the_paper_has_its_19_rates():
    grid = LogGrid(log=[1e-5, 10], per_decade=[1, 3, 5]).values()
    written = "1e-5 3e-5 5e-5 1e-4 3e-4 5e-4 1e-3 3e-3 5e-3 1e-2 3e-2 5e-2 1e-1 3e-1 5e-1 1 3 5 10"
    assert grid == tuple(float(text) for text in written.split())


@pytest.mark.parametrize(
    ("low", "high", "factors", "expected"),
    [
        (1, 1, [1], (1.0,)),
        (0.1 + 0.2, 1, [1, 3], (0.3, 1.0)),
        (0.1, 0.3 - 1e-17, [3, 1], (0.1, 0.3)),
        (2e-3, 4e-2, [1, 2.5], (2.5e-3, 1e-2, 2.5e-2)),
        (1e-310, 1e-309, [1], (1e-310, 1e-309)),
        (1e307, 1e308, [1], (1e307, 1e308)),
    ],
)
def test_grid_includes_both_bounds(low, high, factors, expected):
    assert LogGrid(log=[low, high], per_decade=factors).values() == expected


@given(low=st.integers(-30, 30), decades=st.integers(0, 10), factors=st.sets(st.integers(1, 9), min_size=1))
def test_grid_holds_each_decimal_as_it_would_be_written(low, decades, factors):
    bounds = [float(f"1e{low}"), float(f"1e{low + decades}")]
    expected = {float(f"{m}e{k}") for m in factors | {1} for k in range(low, low + decades + 1)}
    grid = LogGrid(log=bounds, per_decade=sorted(factors | {1})).values()
    assert grid == tuple(sorted(value for value in expected if value <= bounds[1]))


def test_every_knob_takes_a_number_a_list_or_a_grid():
    for value, expected in [
        (10, (10.0,)),
        ([20, 10], (20.0, 10.0)),
        ({"log": [1, 10], "per_decade": [1]}, (1.0, 10.0)),
    ]:
        for name in KNOB_NAMES:
            assert getattr(KnobGrid.model_validate({"lr": 1} | {name: value}), name) == expected


def test_off_means_no_clipping():
    assert suite(knobs={"lr": 1, "grad_clip": ["off", 1.0]}).knobs.grad_clip == (math.inf, 1.0)
    assert suite(knobs={"lr": 1, "grad_clip": math.inf}).knobs.grad_clip == (math.inf,)


def test_yaml_1_2_numbers_and_words(tmp_path):
    text = "name: no\nworkloads: [in_context_regression]\nmethods: [softmax]\noptimizers: [sgd]\nknobs: {lr: 1e-5}\n"
    read = load(tmp_path, text + "seeds: 0x2\nprobe_every: 1\ndescription: off\n")
    assert (read.name, read.description, read.knobs.lr, read.seeds) == ("no", "off", (1e-5,), (0, 1))


def test_file_and_python_give_the_same_suite(tmp_path):
    assert load(tmp_path, json.dumps(FIELDS)) == suite()


def test_dump_of_a_suite_is_a_suite():
    given = suite(knobs={"lr": [1, 0.1], "grad_clip": ["off", 1]}, seeds=[3, 1])
    assert Suite(**json.loads(given.model_dump_json())) == given
    assert hash(Suite(**given.model_dump())) == hash(given)


def test_suite_is_immutable():
    with pytest.raises(ValueError, match="frozen"):
        suite().name = "other"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"methods": ["softmax", "softmx"]}, "Suite: methods[1]: unknown method 'softmx'; did you mean 'softmax'?"),
        ({"methods": [{"name": "window_softmax", "width": 0}]}, "Suite: methods[0].width: width must be greater than"),
        ({"methods": ["softmax", "softmax"]}, "Suite: methods[1]: softmax is listed twice; remove one (methods[0])"),
        ({"methods": ["os:system"]}, "Suite: methods[0]: method 'os:system' is code that would be imported"),
        ({"methods": [int]}, "Suite: methods[0]: 'builtins:int' must be a subclass of bench.methods.base.Method"),
        ({"knobs": {"lr": [1, 0]}}, "Suite: knobs.lr[1]: lr[1] must be greater than 0, got 0"),
        ({"knobs": {"lr": 10**5000}}, "Suite: knobs.lr[0]: lr[0] must be a number, got an integer of 16610 bits"),
        ({"seeds": -(10**5000)}, "Suite: seeds: seeds must be a count from 1 to 1,000,000, got an integer of"),
        ({"knobs": {"lr": {1, 2}}}, "Suite: knobs.lr[0]: lr[0] must be a number, got a set"),
        ({"sedes": 3}, "Suite: sedes: unknown key 'sedes'; did you mean 'seeds'?"),
        ({"seeds": 10**6}, "Suite: seeds: 2 methods x 1000000 seeds x 2 lr = 4,000,000 trials; a suite must have"),
        ({"methods": {"softmax"}}, "Suite: methods: methods must be a list, got a set"),
    ],
)
def test_python_gets_the_same_messages_with_the_field(fields, message):
    with pytest.raises(UsageError) as caught:
        suite(**fields)
    assert str(caught.value).startswith(message)


def test_several_workloads_share_the_shortest_run_as_limit_of_warmup():
    workloads = [{"name": "in_context_regression", "num_steps": steps} for steps in (50, 20)]
    assert suite(workloads=workloads, knobs={"lr": 1, "warmup_steps": 20}).num_trials == 8
    with pytest.raises(UsageError, match=r"at most num_steps of every workload \(20\), got 21"):
        suite(workloads=workloads, knobs={"lr": 1, "warmup_steps": 21})


def test_shipped_suites_are_found_by_name_and_by_path():
    assert {"paper_table1", "quickstart"} <= set(shipped_suites())
    assert all(shipped_suites().values())
    assert find_suite("quickstart").name == "quickstart.yaml"
    assert find_suite(str(find_suite("quickstart"))) == find_suite("quickstart")


def test_suite_of_the_paper_is_seven_methods_and_a_control_at_19_rates_with_5_seeds():
    paper = load_suite(find_suite("paper_table1"))
    assert paper.num_trials == len(paper.expand()) == (7 + 1) * 19 * 5 == 760
    assert {trial.num_steps for trial in paper.expand()} == {10_000}
    assert paper.methods[2] == Choice(name="window_softmax", params={"width": 8})


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_schema_is_valid_and_accepts_the_shipped_suites(validator):
    for name in shipped_suites():
        assert validator.is_valid(YAML(typ="safe", pure=True).load(find_suite(name))), name
    assert validator.is_valid(json.loads(suite().model_dump_json()))


@pytest.mark.parametrize(
    "fields",
    [
        {"methods": ["softmx"]},
        {"methods": [{"name": "window_softmax", "width": 0}]},
        {"methods": [{"name": "window_softmax", "widht": 1}]},
        {"workloads": [{"name": "in_context_regression", "embedding": "tokns"}]},
        {"knobs": {}},
        {"knobs": {"lr": 0}},
        {"knobs": {"lr": []}},
        {"knobs": {"lr": {"log": [1, 2]}}},
        {"seeds": 0},
        {"sedes": 1},
    ],
)
def test_schema_refuses_what_the_suite_refuses(fields, validator):
    with pytest.raises(UsageError):
        suite(**fields)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(FIELDS | fields)


def test_schema_names_every_entry_and_its_defaults():
    items = json_schema()["properties"]["methods"]["items"]["anyOf"]
    assert items[0]["enum"] == list(METHODS)
    window = next(item for item in items if item.get("properties", {}).get("name") == {"const": "window_softmax"})
    assert window["properties"]["width"] == {"type": "integer", "minimum": 1, "default": 8}
    assert window["description"].startswith("Softmax over the keys j")


def test_loading_a_suite_imports_no_heavy_module():
    code = (
        "import sys; from bench.suite import find_suite, json_schema, load_suite\n"
        "load_suite(find_suite('quickstart')).expand(); json_schema()\n"
        "print(sorted({'torch', 'polars', 'ray', 'mlflow', 'numpy'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "[]\n"


def test_choice_keeps_its_label_out_of_equality_of_ids():
    trial = suite().expand()[0]
    assert dataclasses.replace(trial, method=dataclasses.replace(trial.method, label="x")).id == trial.id


def test_a_method_that_trains_otherwise_than_before_has_ids_of_its_own():
    """Power iterations of spectral_norm start exactly since revision 1; softmax never changed."""
    plain, changed = (suite(methods=[name]).expand()[0] for name in ("softmax", "spectral_norm"))
    assert (plain.method.digest, changed.method.digest) == ("", "revision 1")
    old = dataclasses.replace(changed, method=dataclasses.replace(changed.method, digest=""))
    assert old.id != changed.id
