"""The same colour, dash and shape for a method in every figure."""

import pytest

from analysis.figures.style.chart_style import PALETTE, method_colour, method_dash, method_shape
from analysis.figures.style.method_looks import METHOD_LOOKS, NUM_COLOURS, looks, shipped_looks
from bench.methods import METHODS


def test_every_shipped_method_has_a_look_of_its_own():
    assert shipped_looks().keys() == METHODS.keys()
    assert METHOD_LOOKS.keys() <= METHODS.keys()
    assert len(set(shipped_looks().values())) == len(METHODS)
    assert len(PALETTE) == NUM_COLOURS


@pytest.mark.parametrize("others", [["relu_kernel"], ["elu_kernel", "a_new_method", "window_softmax"]])
def test_a_shipped_method_looks_the_same_whatever_stands_beside_it(others):
    assert looks(["softmax", *others])[0] == looks(["softmax"])[0]


def test_methods_of_a_figure_are_told_apart():
    labels = [*METHODS, "softmax(temperature=2.0)", "my_attention:Cauchy"]
    assert len(set(looks(labels))) == len(labels)
    pairs = list(
        zip(
            method_colour(labels, None).to_dict()["scale"]["range"],
            map(str, method_dash(labels, None).to_dict()["scale"]["range"]),
            strict=True,
        )
    )
    assert len(set(pairs)) == len(labels)


def test_a_variant_has_the_colour_of_its_method_and_another_style():
    plain, variant = looks(["softmax", "softmax(temperature=2.0)"])
    assert plain.colour == variant.colour
    assert plain.style != variant.style


def test_methods_of_ones_own_get_colours_that_are_free():
    found = looks(["softmax", "mine:First", "mine:Second"])
    assert len({look.colour for look in found}) == 3


def test_shapes_differ_where_colours_are_alike():
    labels = [name for name, look in METHOD_LOOKS.items() if look.colour == 0]
    shapes = method_shape(labels, None).to_dict()["scale"]["range"]
    assert len(set(shapes)) == len(labels)
