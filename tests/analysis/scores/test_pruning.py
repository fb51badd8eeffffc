"""Rules that prune decide as Optuna's pruners of their names do, on random losses, and as worked out by hand."""

import math

import numpy as np
import optuna
import pytest

from analysis.scores.pruning import RULES, Peer, Rule

FIRST, NUM_STEPS, FACTOR = 2, 60, 3
SEEDS = tuple(range(6))


def rule(worse_than: str = "halving", **changes) -> Rule:
    settings = {"first_step": FIRST, "num_steps": NUM_STEPS, "reduction_factor": FACTOR, "startup": 1}
    return Rule(worse_than=worse_than, **settings | changes)  # pyright: ignore[reportArgumentType]


def drawn(rng: np.random.Generator, number: int, end: int | None = None) -> Peer:
    """A setting with falling losses; of a pruned one to the rung `end`."""
    level = rng.normal(2.0, 0.5)
    seen = {
        rung: {seed: float(level + rng.normal(0, 0.1) - 0.2 * math.log(rung)) for seed in SEEDS}
        for rung in rule().rungs
        if end is None or rung <= end
    }
    return Peer(number=number, seen=seen, final={} if end else dict.fromkeys(SEEDS, level - 1))


def mean(losses) -> float:
    return math.fsum(losses.values()) / len(losses)


def optuna_prunes(pruner: optuna.pruners.BasePruner, own: Peer, peers: list[Peer], *, first: int = FIRST) -> bool:
    """What Optuna decides of a trial with the same number, told the same values."""
    study = optuna.create_study(study_name="settings", pruner=pruner)
    states = {True: optuna.trial.TrialState.COMPLETE, False: optuna.trial.TrialState.PRUNED}
    for peer in peers:
        values = {rung: mean(losses) for rung, losses in peer.seen.items()}
        reached = [value for rung, value in values.items() if rung >= first]
        rungs = {f"completed_rung_{place}": value for place, value in enumerate(reached)}
        state = states[bool(peer.final)]
        value = mean(peer.final) if peer.final else values[max(values)]
        one = optuna.trial.create_trial(state=state, value=value, intermediate_values=values, system_attrs=rungs)
        study.add_trial(one)
    trial = study.ask()
    assert trial.number == own.number
    verdicts = []
    for rung, losses in own.seen.items():
        trial.report(mean(losses), rung)
        verdicts.append(trial.should_prune())
    return verdicts[-1]


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


PRUNERS = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=1),
    "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=FIRST, reduction_factor=FACTOR),
    "hyperband": lambda: optuna.pruners.HyperbandPruner(
        min_resource=FIRST, max_resource=NUM_STEPS, reduction_factor=FACTOR
    ),
}


@pytest.mark.parametrize("name", PRUNERS)
def test_rules_prune_as_optuna_does(name):
    rng, verdicts = np.random.default_rng(0), []
    for _ in range(60):
        ends = [rng.choice([None, None, *rule().rungs]) for _ in range(int(rng.integers(1, 14)))]
        peers = [drawn(rng, number, end) for number, end in enumerate(ends)]
        own = drawn(rng, len(peers), end=int(rng.choice(rule().rungs)))
        if not any(peer.final for peer in peers):
            continue
        mine, first = rule(name), FIRST
        if name == "hyperband":
            first = FIRST * FACTOR ** mine.bracket(own.number)
        ends_there = mine.prunes(own.number, own.seen, peers)
        passed = {rung: own.seen[rung] for rung in own.seen if rung < max(own.seen)}
        if passed and mine.ends_at(own.number, passed, peers) is not None:
            continue  # it would not have come so far
        verdicts.append(ends_there)
        assert ends_there == optuna_prunes(PRUNERS[name](), own, peers, first=first)
    assert 5 < sum(verdicts) < len(verdicts) - 5


@pytest.mark.filterwarnings("ignore:WilcoxonPruner is experimental")
def test_wilcoxon_prunes_as_optuna_whose_steps_are_seeds():
    rng, verdicts = np.random.default_rng(1), []
    for _ in range(60):
        peers = [drawn(rng, number) for number in range(4)]
        own = drawn(rng, len(peers), end=FIRST)
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.1)
        study = optuna.create_study(pruner=pruner)
        for peer in peers:
            value = mean(peer.final)
            study.add_trial(optuna.trial.create_trial(value=value, intermediate_values=dict(peer.seen[FIRST])))
        trial = study.ask()
        for seed, loss in own.seen[FIRST].items():
            trial.report(loss, seed)
        verdicts.append(rule("wilcoxon").prunes(own.number, own.seen, peers))
        assert verdicts[-1] == trial.should_prune()
    assert 5 < sum(verdicts) < 55


def setting(number: int, loss: float, *, is_whole: bool = True) -> Peer:
    """One whose loss is the same at every rung and with every seed."""
    losses = dict.fromkeys(SEEDS, loss)
    return Peer(number=number, seen=dict.fromkeys(rule().rungs, losses), final=losses if is_whole else {})


def test_halving_keeps_the_best_in_so_many_by_hand():
    """Of 6 with it, the best 6 // 3 = 2 go on: it must not lie above the second of the five others."""
    peers = [setting(number, loss) for number, loss in enumerate((1.0, 2.0, 3.0, 4.0, 5.0))]
    seen = {FIRST: dict.fromkeys(SEEDS, 2.0)}
    assert not rule().prunes(5, seen, peers)
    assert rule().prunes(5, {FIRST: dict.fromkeys(SEEDS, 2.0001)}, peers)
    assert rule().rungs == (2, 6, 18, 54)


@pytest.mark.parametrize("name", RULES)
def test_nothing_is_judged_before_enough_was_trained_to_the_end_with_the_same_seeds(name):
    peers = [setting(number, 1.0 + number) for number in range(3)]
    peers += [setting(3, 0.5, is_whole=False)]
    seen = {FIRST: dict.fromkeys(SEEDS, 9.0)}
    assert not rule(name, startup=4).prunes(7, seen, peers)
    assert not rule(name, startup=3).prunes(7, {FIRST: {99: 9.0}}, peers)
    number = next(one for one in range(4, 40) if rule().bracket(one) == rule().bracket(0) == 0)
    assert rule(name, startup=3).prunes(number, seen, peers)
