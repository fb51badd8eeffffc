"""`probes:` of a suite: what is traced, which is part of a trial where it is not the default."""

import itertools

import pytest

from bench.errors import UsageError
from bench.probes import DEFAULT_PROBES
from bench.suite import Context, Suite, load_suite
from bench.trial import Trial
from tests.trials import corpus

FIELDS = {
    "name": "probed",
    "workloads": ["in_context_regression"],
    "methods": ["softmax"],
    "optimizers": ["sgd"],
    "knobs": {"lr": [0.1, 1.0]},
    "seeds": 1,
    "probe_every": 10,
}
OURS = "tests.bench.training.test_train_probes:LargestWeight"
TEXT = """
name: probed
workloads: [in_context_regression]
methods: [softmax]
optimizers: [sgd]
knobs: {lr: 0.1}
seeds: 1
probe_every: 10
probes:
  - entropy
"""


def suite(**fields) -> Suite:
    return Suite.model_validate(FIELDS | fields, context=Context(allow_code=True))


def ids(**fields) -> list[str]:
    return [trial.id for trial in suite(**fields).expand()]


def test_the_default_may_be_written_out_in_any_order_and_is_not_written_down():
    assert {probe.name for probe in suite().probes} == set(DEFAULT_PROBES)
    assert ids() == ids(probes=list(DEFAULT_PROBES)) == ids(probes=list(reversed(DEFAULT_PROBES)))
    assert suite().expand()[0].probes is None
    assert "probes" not in suite(probes=list(DEFAULT_PROBES)).model_dump(mode="json")


def test_other_probes_are_part_of_a_trial():
    several = (
        list(DEFAULT_PROBES),
        ["entropy"],
        [{"name": "entropy", "every": 5}],
        ["entropy", "max_logit"],
        ["entropy", OURS],
        ["entropy", {"name": OURS, "power": 2.0}],
        [],
    )
    found = [ids(probes=probes)[0] for probes in several]
    assert len(set(found)) == len(found)
    assert ids(probes=["max_logit", "entropy"]) == ids(probes=["entropy", "max_logit"])


def test_trials_and_suites_with_probes_are_read_back():
    probed = suite(probes=["max_logit", {"name": OURS, "every": 3}])
    for trial in probed.expand():
        assert Trial.from_dict(trial.to_dict()) == trial
    again = Suite.model_validate(probed.model_dump(mode="json"), context=Context(allow_code=True))
    assert [trial.id for trial in again.expand()] == [trial.id for trial in probed.expand()]


def test_searches_trace_what_the_suite_says():
    from bench.results.standings import groups

    (group,) = groups(suite(probes=["entropy"], search="edge"))
    assert [probe.name for probe in group.template.probes] == ["entropy"]


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ("entropi", "unknown probe 'entropi'; did you mean 'entropy'?"),
        ("{name: entropy, every: 0}", "greater than or equal to 1"),
        ("{name: entropy, often: 2}", "unknown parameter 'often' of probe 'entropy'"),
        ("{name: entropy, every: 2}", "entropy(every=2) measures 'entropy', which entropy traces; remove one of them"),
        (OURS, "is code that would be imported; pass --allow-code"),
    ],
)
def test_a_wrong_probe_is_one_line_with_its_place(tmp_path, probes, message):
    path = tmp_path / "probed.yaml"
    path.write_text(TEXT + f"  - {probes}\n")
    with pytest.raises(UsageError) as caught:
        load_suite(path)
    assert str(caught.value).startswith(f"{path}:11:")
    assert message in str(caught.value).splitlines()[0]


def test_a_probe_of_a_quantity_that_every_trial_traces_is_refused(tmp_path, monkeypatch):
    (tmp_path / "twice.py").write_text(
        "from dataclasses import dataclass\nfrom bench.probes.base import Probe\nfrom bench.trace import Quantity\n\n"
        "@dataclass(frozen=True)\nclass Twice(Probe):\n    quantities = {'loss': Quantity(title='t', unit='1', "
        "low=0.0, high=float, definition='d', per_layer=True)}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="measures 'loss', which every trial traces"):
        suite(probes=["twice:Twice"])


def test_a_probe_without_quantities_is_refused(tmp_path, monkeypatch):
    (tmp_path / "bare.py").write_text(
        "from dataclasses import dataclass\nfrom bench.probes.base import Probe\n\n"
        "@dataclass(frozen=True)\nclass Bare(Probe):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="bare:Bare declares no quantities"):
        suite(probes=["bare:Bare"])


def test_the_same_probes_trace_every_trial():
    traced = [trial.probes for trial in suite(probes=["entropy"], methods=["softmax", "relu_kernel"]).expand()]
    assert all(one == other for one, other in itertools.pairwise(traced))


@pytest.mark.parametrize(
    ("probes", "changes", "message"),
    [
        (["gammas"], {}, "gammas measures gammas, and no method has any, such as qk_layernorm_free; got softmax"),
        (["sharpness"], {"optimizers": ["muon"]}, "sharpness is measured against .* none has one.* got muon"),
        (["second_moments"], {}, "no optimizer has any, such as adamw; got sgd"),
        ([{"name": "sharpness", "iterations": 0}], {}, "greater than or equal to 1"),
    ],
)
def test_a_probe_that_nothing_here_lets_measure_is_refused(probes, changes, message):
    with pytest.raises(UsageError, match=rf"^Suite: probes\[0\].*{message}"):
        suite(probes=probes, **changes)


def test_one_entry_that_has_what_a_probe_needs_is_enough():
    assert suite(probes=["gammas"], methods=["softmax", "qk_layernorm_free"]).num_trials == 4


def test_batches_in_parts_have_no_gradient_of_the_whole():
    parts = {"name": "language_modeling", "corpus": corpus(), "tokenizer": "characters", "num_micro_batches": 2}
    with pytest.raises(UsageError, match="norms needs the gradient of a whole batch, and language_modeling"):
        suite(probes=["norms"], workloads=[parts])
