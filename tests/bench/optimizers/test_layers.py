"""Tensors of alike layers are stacked and unstacked by what the model says of its layers, whatever their names."""

import pytest
import torch

from bench.optimizers.layers import Layer, is_stacked, layers_of, over_layers, stack_layers, unstack_layers

STACKS = (*layers_of("encoder", 2), *layers_of("decoder", 11), *layers_of("cross", 11))


def numbered(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.full((2,), float(number)) for number, name in enumerate(names)}


def of_layers(layers: tuple[Layer, ...]) -> dict[str, torch.Tensor]:
    """Two tensors a layer and two outside of them."""
    inside = [layer.prefix + name for layer in layers for name in ("query.weight", "method.gain")]
    return numbered("embed.tokens", *inside, "readout.weight")


def test_layers_have_the_names_of_their_stack():
    first, second = layers_of("encoder", 2)
    assert (first.prefix, second.prefix) == ("encoder.0.", "encoder.1.")
    assert first.stacked_prefix == second.stacked_prefix == "encoder.*."


@pytest.mark.parametrize("layers", [layers_of("layers", 1), layers_of("layers", 12), STACKS])
def test_unstacking_is_the_inverse_of_stacking(layers):
    tensors = of_layers(layers)
    again = unstack_layers(stack_layers(tensors, layers), tensors, layers)
    assert list(again) == list(tensors)
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def test_each_stack_becomes_one_tensor_a_name_in_the_order_of_its_layers():
    """Whatever the order of names; `decoder.1.` is no start of `decoder.10.`."""
    tensors = of_layers(STACKS)
    stacked = stack_layers(dict(reversed(tensors.items())), STACKS)
    assert stacked.keys() == {
        "embed.tokens",
        "readout.weight",
        *(f"{stack}.*.{name}" for stack in ("encoder", "decoder", "cross") for name in ("query.weight", "method.gain")),
    }
    for stack, num_layers in (("encoder", 2), ("decoder", 11), ("cross", 11)):
        expected = torch.stack([tensors[f"{stack}.{index}.method.gain"] for index in range(num_layers)])
        assert torch.equal(stacked[f"{stack}.*.method.gain"], expected)
    assert torch.equal(stacked["embed.tokens"], tensors["embed.tokens"])


def test_names_that_no_layer_has_are_left_alone():
    """Also such as look like a layer's."""
    tensors = numbered("layers.0.query.weight", "layers.1.query.weight", "my.layers.0.query.weight", "layers.0")
    stacked = stack_layers(tensors, layers_of("layers", 1))
    assert {name: is_stacked(name) for name in stacked} == {
        "layers.*.query.weight": True,
        "layers.1.query.weight": False,
        "my.layers.0.query.weight": False,
        "layers.0": False,
    }


def test_a_function_sees_one_layer_at_a_time():
    def total(x: torch.Tensor) -> torch.Tensor:
        return x.sum()

    tensor = torch.arange(6.0).reshape(2, 3)
    assert over_layers(total, "encoder.*.bias", tensor).tolist() == [3.0, 12.0]
    assert over_layers(total, "embed.tokens", tensor) == 15
