"""Rules by which settings of a search are not trained to the end, by Optuna's names: what they compare, and with what.

A setting is judged after each of a few numbers of steps, its rungs, by the losses of its seeds there. It is compared
with settings that were asked for in earlier rounds alone, never with those beside it: so the verdict is a function of
recorded results, whatever else is trained, in whatever order. A seed's loss counts at most as its loss at init.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.lazy import numpy as np

RuleName = Literal["median", "halving", "hyperband", "wilcoxon"]
Losses = Mapping[int, float]  # by seed
Seen = Mapping[int, Losses]  # by rung


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A setting of an earlier round. number: in the order of asking. seen: losses at the rungs that it reached.

    final: final losses by seed; none of a setting that was pruned.
    """

    number: int
    seen: Seen
    final: Losses


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a setting is pruned. first_step: the first rung; each further one is `reduction_factor` times as far.

    startup: settings that are trained to the end, with the same seeds, before any is judged. p_threshold: of wilcoxon.
    """

    worse_than: RuleName
    first_step: int
    num_steps: int
    reduction_factor: int = 3
    startup: int = 8
    p_threshold: float = 0.1

    @property
    def rungs(self) -> tuple[int, ...]:
        """Numbers of steps after which settings are judged, all below num_steps."""
        rungs, rung = [], self.first_step
        while rung < self.num_steps:
            rungs.append(rung)
            rung *= self.reduction_factor
        return tuple(rungs)

    def prunes(self, number: int, seen: Seen, peers: Sequence[Peer]) -> bool:
        """Whether the setting with this number in the order of asking ends at the last rung of `seen`."""
        seeds = frozenset(seen[max(seen)])
        num_whole = sum(seeds <= peer.final.keys() for peer in peers)
        return num_whole >= self.startup and RULES[self.worse_than](self, number, seen, peers)

    def ends_at(self, number: int, seen: Seen, peers: Sequence[Peer]) -> int | None:
        """The rung at which a setting with these losses is pruned; None if it passes them all."""
        for rung in sorted(seen):
            if self.prunes(number, {one: seen[one] for one in seen if one <= rung}, peers):
                return rung
        return None

    def bracket(self, number: int) -> int:
        """Hyperband's bracket of a setting, of which each further one judges a rung later. Source: Li et al. 2018.

        Brackets have Optuna's shares of the settings, and by its hash of a study named `settings`.
        """
        most = math.floor(math.log(self.num_steps / self.first_step, self.reduction_factor))
        shares = [math.ceil((most + 1) * self.reduction_factor**left / (left + 1)) for left in range(most, -1, -1)]
        place = binascii.crc32(f"settings_{number}".encode()) % sum(shares)
        return next(bracket for bracket in range(most + 1) if place < sum(shares[: bracket + 1]))


def _median(rule: Rule, number: int, seen: Seen, peers: Sequence[Peer]) -> bool:
    """Its least loss so far lies above the median loss there of the settings that were trained to the end.

    Source: Golovin et al. 2017, as Optuna's MedianPruner.
    """
    rung = max(seen)
    there = [loss for peer in peers if peer.final and (loss := _loss_there(peer, rung, seen[rung])) is not None]
    return bool(there) and min(map(_mean, seen.values())) > float(np.median(there))


def _halving(rule: Rule, number: int, seen: Seen, peers: Sequence[Peer]) -> bool:
    """Its loss is not in the best 1 in `reduction_factor` of all that got there, itself included.

    Source: asynchronous successive halving, Li et al. 2020, as Optuna's SuccessiveHalvingPruner.
    """
    rung = max(seen)
    own = _mean(seen[rung])
    there = sorted([own, *(loss for peer in peers if (loss := _loss_there(peer, rung, seen[rung])) is not None)])
    return own > there[max(len(there) // rule.reduction_factor, 1) - 1]


def _hyperband(rule: Rule, number: int, seen: Seen, peers: Sequence[Peer]) -> bool:
    """As halving, in its bracket: some settings are judged later, against those of the same bracket alone.

    Source: Li et al. 2018, as Optuna's HyperbandPruner.
    """
    bracket = rule.bracket(number)
    if max(seen) < rule.first_step * rule.reduction_factor**bracket:
        return False
    return _halving(rule, number, seen, [peer for peer in peers if rule.bracket(peer.number) == bracket])


def _wilcoxon(rule: Rule, number: int, seen: Seen, peers: Sequence[Peer]) -> bool:
    """Seed by seed it lies above the best setting so far there, by a signed-rank test; and on average, too.

    The best has the least mean final loss. Source: Wilcoxon 1945, as Optuna's WilcoxonPruner, whose steps are seeds.
    """
    from scipy import stats

    rung = max(seen)
    whole = [peer for peer in peers if seen[rung].keys() <= peer.final.keys() and rung in peer.seen]
    if not whole or len(seen[rung]) < 2:
        return False
    best = min(whole, key=lambda peer: (_mean({seed: peer.final[seed] for seed in seen[rung]}), peer.number))
    there = {seed: best.seen[rung][seed] for seed in seen[rung]}
    differences = [seen[rung][seed] - there[seed] for seed in sorted(there)]
    test: Any = stats.wilcoxon(differences, alternative="greater", zero_method="zsplit")
    return bool(test.pvalue < rule.p_threshold) and _mean(there) < _mean(seen[rung])


RULES: dict[RuleName, Callable[[Rule, int, Seen, Sequence[Peer]], bool]] = {
    "median": _median,
    "halving": _halving,
    "hyperband": _hyperband,
    "wilcoxon": _wilcoxon,
}


def _loss_there(peer: Peer, rung: int, seeds: Losses) -> float | None:
    """Mean loss of a peer at a rung over these seeds; None if it did not get there with all of them."""
    losses = peer.seen.get(rung, {})
    return _mean({seed: losses[seed] for seed in seeds}) if seeds.keys() <= losses.keys() else None


def _mean(losses: Losses) -> float:
    return math.fsum(losses.values()) / len(losses)
