"""No example's output or gradient depends on its padding or its neighbours, in lanes and by every path.

bench.testing.padding holds each method to it in float64, one model at a time. Shapes: L lanes, as there.
"""

import pytest
import torch

from bench.entry import load_class
from bench.interventions.attention import LogitScale
from bench.interventions.thermostat import EntropyThermostat
from bench.methods import METHODS
from bench.methods.fast.tiny import has_kernels
from bench.methods.mask import Mask
from bench.models.attention import Mode
from bench.testing.padding import MASKS, alone, attended, padded_inputs, sizes
from bench.testing.paths import LONG, SHORT, state_of
from bench.training.interventions import intervened
from tests.repetitions import EACH_METHOD

LANES = 3


@pytest.mark.parametrize("name", EACH_METHOD)
@pytest.mark.usefixtures("no_vmap_fallback")
def test_in_lanes_each_example_is_what_it_is_alone(name):
    """Which examples are how long is the same for all lanes, as on held-out data."""
    method, num_keys = load_class(METHODS[name])(), LONG
    state = state_of(method, num_keys, torch.float64)
    for mask in MASKS:
        lengths = sizes(mask, num_keys)
        of_lanes = [padded_inputs(mask, num_keys, 10 * lane, torch.float64) for lane in range(LANES)]
        qkv = tuple(map(torch.stack, zip(*of_lanes, strict=True)))
        together = torch.func.vmap(lambda *x: attended(method, mask, lengths, x, state, Mode()))(*qkv)  # noqa: B023
        one = ([lengths[0][1]], [lengths[1][1]])
        for lane in range(LANES):
            expected = attended(method, mask, one, alone(of_lanes[lane], 1, lengths), state, Mode())
            actual = alone(tuple(x[lane] for x in together), 1, lengths)
            for a, b in zip(actual, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.skipif(not has_kernels("cpu"), reason="no C compiler")
@pytest.mark.parametrize("name", ["softmax", "relu_kernel", "elu_kernel", "window_softmax"])
@pytest.mark.parametrize("mask", MASKS)
def test_the_path_of_tiny_sequences_knows_padding(name, mask):
    """In float32, which alone it takes."""
    method, lengths = load_class(METHODS[name])(), sizes(mask, SHORT)
    qkv, state = padded_inputs(mask, SHORT, 0, torch.float32), state_of(method, SHORT, torch.float32)
    together = alone(attended(method, mask, lengths, qkv, state, Mode()), 1, lengths)
    one = ([lengths[0][1]], [lengths[1][1]])
    expected = attended(method, mask, one, alone(qkv, 1, lengths), state, Mode(is_reference=True))
    for a, b in zip(together, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", EACH_METHOD)
@pytest.mark.parametrize("num_keys", [SHORT, LONG])
def test_padding_changes_nothing_on_cuda(name, num_keys):
    """In float32, in lanes, against the dense reference of the example alone in float64 on the CPU."""
    method, cuda = load_class(METHODS[name])(), torch.device("cuda")
    state, exact = (state_of(method, num_keys, dtype) for dtype in (torch.float32, torch.float64))
    state = {key: tensor.to(cuda) for key, tensor in state.items()}
    for mask in MASKS:
        lengths = sizes(mask, num_keys)
        of_lanes = [padded_inputs(mask, num_keys, 10 * lane, torch.float64) for lane in range(LANES)]
        qkv = tuple(torch.stack(x).float().to(cuda) for x in zip(*of_lanes, strict=True))
        together = torch.func.vmap(lambda *x: attended(method, mask, lengths, x, state, Mode()))(*qkv)  # noqa: B023
        one = ([lengths[0][1]], [lengths[1][1]])
        expected = attended(method, mask, one, alone(of_lanes[2], 1, lengths), exact, Mode(is_reference=True))
        for a, b in zip(alone(tuple(x[2].cpu() for x in together), 1, lengths), expected, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-3 * b.abs().max().item())


@pytest.mark.parametrize("kind", [LogitScale(scale=2.0), EntropyThermostat(set_point=0.99)])
def test_interventions_read_no_padding(kind):
    """The largest logit and the mean entropy of a head are those of tokens, however many rows of padding there are."""
    method = intervened(load_class(METHODS["softmax"])(), (kind,))
    state = {"intervention.0": torch.tensor([2.0, 2.0]), "step": torch.tensor(0)}
    lengths = ([3, 3], [6, 6])
    qkv = padded_inputs("cross", 6, 0, torch.float64)
    more = tuple(torch.nn.functional.pad(x, (0, 0, 0, 5), value=30.0) for x in qkv)
    few, many = (
        alone(attended(method, "cross", lengths, (x[0], *x[1:]), state, Mode()), 1, lengths) for x in (qkv, more)
    )
    for a, b in zip(many, few, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_a_window_of_padding_alone_keeps_the_keys_of_the_mask():
    """A row without any key would be 0/0 and spread through the next layer."""
    is_token_BT = torch.arange(30) < torch.tensor([[30], [3]])
    allowed = load_class(METHODS["window_softmax"])(width=2).restrict(Mask.padded(is_token_BT)).allowed_B1QK
    assert allowed.any(dim=-1).all()
    assert torch.equal(allowed[1, 0, 20], is_token_BT[1])
