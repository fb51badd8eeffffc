"""A mask says which keys each query may see, which rows are tokens, and what methods read of padding."""

import torch

from bench.methods.mask import Mask, num_keys_of

IS_KEY_BK = torch.tensor([[True, True, True, True], [True, True, False, False]])
IS_QUERY_BQ = torch.tensor([[True, True, False], [True, True, True]])


def test_an_unpadded_mask_says_nothing_of_padding():
    for mask in (Mask.full(3, 4), Mask.causal(4), Mask.shared(torch.eye(3, dtype=torch.bool), "custom")):
        assert mask.state == {}
        assert mask.num_keys_BQ is None
        assert mask.allowed_B1QK.shape == (1, 1, mask.num_queries, mask.num_keys)


def test_a_padded_mask_allows_each_query_the_tokens_of_its_example():
    mask = Mask.padded(IS_KEY_BK, IS_QUERY_BQ)
    assert (mask.kind, mask.num_queries, mask.num_keys) == ("padded", 3, 4)
    assert torch.equal(mask.allowed_B1QK.expand(2, 1, 3, 4)[:, 0, 2], IS_KEY_BK)
    assert mask.num_keys_BQ is not None
    assert mask.num_keys_BQ.tolist() == [[4, 4, 0], [2, 2, 2]]
    assert {name: tensor.flatten().tolist() for name, tensor in mask.state.items()} == {
        "num_keys": [4, 2],
        "num_queries": [2, 3],
        "valid_rows": IS_QUERY_BQ.flatten().tolist(),
    }
    assert Mask.padded(IS_KEY_BK).num_queries == 4
    assert Mask.padded(IS_KEY_BK, num_queries=7).valid_BQ is None


def test_tokens_of_a_causal_mask_are_counted_without_padding():
    mask = Mask.causal(4, is_token_BT=IS_KEY_BK)
    assert mask.kind == "causal"
    assert mask.state["num_keys"].flatten().tolist() == [4, 2]
    assert mask.num_keys_BQ is not None
    assert mask.num_keys_BQ.tolist() == [[1, 2, 3, 4], [1, 2, 0, 0]]


def test_part_of_the_examples():
    mask = Mask.padded(IS_KEY_BK, IS_QUERY_BQ).of_examples(1, 2)
    assert mask.state["num_keys"].flatten().tolist() == [2]
    assert mask.allowed_B1QK.shape == (1, 1, 1, 4)
    assert Mask.full(3, 4).of_examples(1, 2).allowed_B1QK.shape == (1, 1, 3, 4)


def test_numbers_of_tokens_without_a_state_follow_from_the_mask():
    assert num_keys_of(torch.ones(5, 7, dtype=torch.bool), {}) == 7
    assert num_keys_of(Mask.full(5, 7).allowed_B1QK.index_fill(-1, torch.tensor([6]), False), {}) == 7
    counted = num_keys_of(IS_KEY_BK[:, None, None, :].expand(2, 1, 3, 4), {})
    assert isinstance(counted, torch.Tensor)
    assert counted.flatten().tolist() == [4, 2]
