"""The published numbers load and say where they come from."""

import pytest

from analysis.references import REFERENCES, load
from bench.errors import UsageError


@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_names_its_source(name):
    references = load(name)
    assert references.columns == ["workload", "method", "lr_sensitivity", "source", "note"]
    assert references.select("workload", "method").is_unique().all()
    assert references.select("workload", "method", "lr_sensitivity", "source").null_count().sum_horizontal().item() == 0


def test_paper_is_table_1_of_hong_and_lee():
    assert set(load("paper")["workload"]) == {"in_context_regression"}
    values = dict(load("paper").select("method", "lr_sensitivity").iter_rows())
    assert values == {
        "softmax": 2.30,
        "window_softmax": 2.20,
        "sigma_reparam_qk": 2.18,
        "sigmoid_kernel": 1.97,
        "elu_kernel": 1.95,
        "qk_layernorm_weight_clipped": 1.14,
        "relu_kernel": 1.03,
    }


def test_unknown_reference_suggests_a_known_one():
    with pytest.raises(UsageError, match="did you mean 'paper'"):
        load("papr")
