"""What prunes the settings of a search: from the points of its earlier rounds to whom the coming ones are compared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from analysis.scores.pruning import Peer, Rule, Seen
from bench.search.base import Ask, Point
from bench.training.pruning import Judged

Setting = tuple[Any, int]  # value and seed


def peers_of(points: Sequence[Point[Any]]) -> tuple[Peer, ...]:
    """The settings of points in the order of asking; a diverged seed ended at its loss at init."""
    by_value: dict[Any, list[Point[Any]]] = {}
    for point in points:
        by_value.setdefault(point.value, []).append(point)
    return tuple(
        Peer(
            number=number,
            seen=_seen([point for point in own if not point.is_lost]),
            final={
                point.seed: min(point.final_loss, point.initial_loss)
                for point in own
                if point.pruned_step is None and not point.is_lost
            },
        )
        for number, own in enumerate(by_value.values())
    )


def judged(rule: Rule, points: Sequence[Point[Any]], ask: Ask[Any], trial_id: Callable[[Setting], str]) -> list[Judged]:
    """The settings of a round that comes after these points, in the order of asking."""
    peers, numbers = peers_of(points), _numbers(points, ask)
    seeds: dict[Any, list[int]] = {}
    for value, seed in ask.settings:
        seeds.setdefault(value, []).append(seed)
    return [
        Judged(
            number=numbers[value],
            ids={seed: trial_id((value, seed)) for seed in of_value},
            rule=rule,
            peers=peers,
        )
        for value, of_value in seeds.items()
    ]


def stale(
    rule: Rule | None, known: Mapping[Setting, Point[Any]], points: Sequence[Point[Any]], ask: Ask[Any]
) -> Collection[Setting]:
    """The settings of a round that are recorded as pruned, and that this rule would not prune at the same step.

    They were pruned by another rule, or after other rounds; without a rule none is pruned.
    """
    pruned = [setting for setting in ask.settings if known[setting].pruned_step is not None]
    if rule is None or not pruned:
        return pruned
    peers, numbers = peers_of(points), _numbers(points, ask)
    ends: dict[Any, int | None] = {}
    for value in dict.fromkeys(value for value, _ in pruned):
        own = [known[setting] for setting in ask.settings if setting[0] == value]
        seen = {rung: losses for rung, losses in _seen(own).items() if rung in rule.rungs and len(losses) == len(own)}
        ends[value] = rule.ends_at(numbers[value], seen, peers)
    return [setting for setting in pruned if known[setting].pruned_step != (ends[setting[0]] or 0) - 1]


def _numbers(points: Sequence[Point[Any]], ask: Ask[Any]) -> dict[Any, int]:
    """The number of every value in the order of asking, from 0."""
    values = dict.fromkeys([*(point.value for point in points), *(value for value, _ in ask.settings)])
    return {value: number for number, value in enumerate(values)}


def _seen(points: Sequence[Point[Any]]) -> Seen:
    """By rung and seed, the losses of the points of one setting."""
    seen: dict[int, dict[int, float]] = {}
    for point in points:
        for rung, loss in point.rung_losses.items():
            seen.setdefault(rung, {})[point.seed] = loss
    return seen
