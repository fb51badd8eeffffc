"""A workload lists its layers of attention; what else is said of them follows, and the other way round."""

from dataclasses import dataclass

from analysis.report.provenance import provenance_of
from bench.driver.manifest import layers_by_stack
from bench.methods.base import Heads
from bench.optimizers.layers import layers_of
from bench.workloads.base import AttentionLayer, Workload, names_of_layers
from bench.workloads.in_context_regression import InContextRegression
from tests.analysis.synthetic_results import results, subject

SOURCE, TARGET = (Heads(num_heads=2, width=4, num_keys=num_keys) for num_keys in (9, 7))


@dataclass(frozen=True, kw_only=True)
class Translating(Workload):
    """Two layers of an encoder, and a decoder's with its cross-attention."""

    @property
    def attention_layers(self) -> tuple[AttentionLayer, ...]:
        return (
            *(AttentionLayer(one, SOURCE, "padded", 9) for one in layers_of("encoder", 2)),
            *(AttentionLayer(one, TARGET, "causal", 7) for one in layers_of("decoder", 1)),
            *(AttentionLayer(one, SOURCE, "padded", 7, is_cross=True) for one in layers_of("cross", 1)),
        )


def test_what_is_said_of_layers_follows_from_their_list():
    workload = Translating()
    assert workload.num_layers == 4
    assert [layer.prefix for layer in workload.layers] == ["encoder.0.", "encoder.1.", "decoder.0.", "cross.0."]
    assert workload.num_keys == 9
    assert workload.attention == (SOURCE, "padded")
    assert names_of_layers(workload) == ["encoder.0", "encoder.1", "decoder.0", "cross.0"]


def test_the_list_of_alike_layers_follows_from_their_number_and_shape():
    workload = InContextRegression(depth=3, num_pairs=5)
    (first, *_, last) = workload.attention_layers
    assert (first.name, last.name) == ("layers.0", "layers.2")
    assert {(one.heads, one.kind, one.num_queries, one.is_cross) for one in workload.attention_layers} == {
        (workload.attention[0], "full", 6, False)
    }
    assert names_of_layers(workload) == []  # numbers are enough


def test_manifests_and_reports_name_the_layers_of_each_stack():
    lines = layers_by_stack(Translating())
    assert lines == [
        "layers 0 to 1: encoder, padded attention, 2 heads of width 4, 9 queries, 9 keys",
        "layer 2: decoder, causal attention, 2 heads of width 4, 7 queries, 7 keys",
        "layer 3: cross, cross-attention, 2 heads of width 4, 7 queries, 9 keys",
    ]
    of_run = subject(
        results(num_seeds=1),
        facts={"device": "CPU"},
        read_manifest=lambda: f'{{"layers": {{"mt": {lines}}}}}'.replace("'", '"'),
    )
    assert provenance_of(of_run)["layers of mt"] == "; ".join(lines)
