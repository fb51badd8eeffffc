"""Numbers that are one knob value, however they were spelled."""

import struct

from bench.spelling import is_same_value, one_spelling


def as_float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def test_the_spelling_with_the_fewest_digits_stands_for_all():
    spelled = [0.0003, 3 * 0.0001, as_float32(0.0003), 0.001]
    assert len(set(spelled)) == 4
    assert one_spelling(spelled) == dict.fromkeys(spelled[:3], 0.0003)


def test_values_further_apart_stay_apart():
    assert one_spelling([1.0, 1.000002, 0.0, 1e-300, float("inf")]) == {}
    assert is_same_value(float("inf"), float("inf"))
    assert not is_same_value(0.0, 1e-300)


def test_a_chain_of_near_values_ends():
    chain = [1.0, 1.0000009, 1.0000018]
    assert one_spelling(chain) == {1.0: 1.0, 1.0000009: 1.0}
