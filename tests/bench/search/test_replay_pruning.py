"""The committed replay of rules that prune is that of the committed losses, and says what the README says of it."""

import polars as pl
import pytest

from analysis.scores.pruning import RULES, RuleName
from tests.bench.search.replay_pruning import REPEATS, REPLAYED, recorded, replays, table


@pytest.mark.parametrize("name", ["median", "halving", "hyperband"])
def test_the_committed_replay_is_that_of_the_committed_losses(name: RuleName):
    committed = pl.read_csv(REPLAYED).filter(rule=name)
    assert committed.height == REPEATS * len(recorded())
    again = pl.DataFrame(list(replays(name, repeats=1)))
    kept = committed.filter(repeat=0)
    assert again["method"].to_list() == kept["method"].to_list()
    for column in ("saved", "pruned", "lost", "regret", "expected", "share"):
        assert again[column].to_list() == pytest.approx(kept[column].to_list(), abs=1e-6)


def test_what_is_left_is_nearly_as_good_and_the_robust_share_is_not():
    rows = table()
    assert rows["rule"].to_list() == list(RULES)
    assert (rows["regret"] < 0.05).all()
    assert (rows["lost"] > 0.2).all(), "the best setting itself is often among those that end early"
    assert (rows["expected"] > 0).all()
    assert (rows["share"] < -0.2 * rows["whole_share"]).all()
