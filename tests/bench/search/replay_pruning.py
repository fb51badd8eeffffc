"""Rules that prune, replayed on settings of a box that were all trained to the end: what they save, and what they lose.

`python -m tests.bench.search.replay_pruning` replays the losses of rungs.csv in suites/results/pruning_small and writes
replay.csv beside it, from which the table of suites/README.md is; with `train` it trains SUITE anew before.
"""

import functools
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.scores.box.shares import BUDGET, DELTA, expected_best, regret
from analysis.scores.pruning import RULES, Peer, Rule, RuleName
from bench.suite import parse_suite
from bench.training.pack import make_packs, setting
from bench.training.pruning import Judged, Pruning
from bench.training.train import PackRun

FOLDER = Path(__file__).parents[3] / "suites/results/pruning_small"
FILE, REPLAYED = FOLDER / "rungs.csv", FOLDER / "replay.csv"
NUM_STEPS, STARTUP, BATCH, REPEATS = 270, 16, 8, 20
SUITE = f"""
name: pruning_small
workloads: [{{name: in_context_regression, num_steps: {NUM_STEPS}, depth: 2, batch_size: 16, final_loss_steps: 30}}]
methods: [softmax, relu_kernel, sigmoid_kernel]
optimizers: [adamw]
box:
  lr: {{log: [1e-4, 1]}}
  warmup_steps: {{int: [0, 135]}}
  weight_decay: {{log: [1e-5, 1], zero: 0.1}}
  init_scale: {{log: [0.3, 3]}}
design: {{name: qmc, num_points: 128}}
seeds: 4
probe_every: 270
"""


def rule(name: RuleName) -> Rule:
    """As a suite has it by default."""
    return Rule(worse_than=name, first_step=NUM_STEPS // 9, num_steps=NUM_STEPS)


def train() -> None:
    """Train every setting to the end and write FILE: by method, point and seed the losses at rungs, and the final."""
    suite, rows = parse_suite(SUITE, file_name="pruning_small"), []
    points = {one.trial.id: one.point for one in suite.box_trials}
    never = Rule(worse_than="median", first_step=NUM_STEPS // 9, num_steps=NUM_STEPS, startup=10**9)
    for pack in make_packs(suite.expand(), max_lanes=512, unit=setting):
        ids = {place: trial.id for place, trial in enumerate(pack.trials)}
        run = PackRun(pack, pruning=Pruning(settings=(Judged(number=0, ids=ids, rule=never, peers=()),)))
        run.advance()
        for result in run.results():
            assert result.final_loss is not None
            assert result.initial_loss is not None
            seen = {f"loss_{rung}": loss for rung, loss in result.rung_losses.items()}
            place = {"method": result.trial.method.label, "point": points[result.trial.id], "seed": result.trial.seed}
            rows.append(place | seen | {"final": f"{result.final_loss:.6g}", "initial": f"{result.initial_loss:.6g}"})
    FILE.parent.mkdir(exist_ok=True)
    pl.DataFrame(rows).sort("method", "point", "seed").write_csv(FILE)


@functools.cache
def recorded() -> dict[str, list[Peer]]:
    """The settings of each method, in the order of the design, a diverged seed at its loss at init."""
    frame = pl.read_csv(FILE, schema_overrides={"final": pl.Float64})
    found: dict[str, list[Peer]] = {}
    for (method, point), own in frame.group_by("method", "point", maintain_order=True):
        seen = {rung: dict(zip(own["seed"], own[f"loss_{rung}"], strict=True)) for rung in rule("median").rungs}
        final = own.with_columns(loss=pl.min_horizontal("final", "initial"))
        peer = Peer(number=int(str(point)), seen=seen, final=dict(zip(own["seed"], final["loss"], strict=True)))
        found.setdefault(str(method), []).append(peer)
    return found


def initial(method: str) -> float:
    """Median loss at init."""
    return float(pl.read_csv(FILE).filter(method=method)["initial"].median())  # pyright: ignore[reportArgumentType]


def pruned(name: RuleName, settings: list[Peer]) -> list[int | None]:
    """Where each setting of a search that draws them in this order ends, None: it is trained whole."""
    own, peers, ends = rule(name), list[Peer](), list[int | None]()
    bounds = [0, *range(STARTUP, len(settings) + 1, BATCH)]
    for start, stop in itertools.pairwise(bounds):
        coming = []
        for number, one in enumerate(settings[start:stop], start):
            end = own.ends_at(number, one.seen, peers)
            ends.append(end)
            seen = {rung: losses for rung, losses in one.seen.items() if end is None or rung <= end}
            coming.append(Peer(number=number, seen=seen, final=one.final if end is None else {}))
        peers += coming
    return ends


def replays(name: RuleName, repeats: int = REPEATS) -> Iterator[dict[str, Any]]:
    """One for each method and order of its settings: what the rule saves, and what scores of the survivors would be.

    A pruned setting counts as the loss at its last rung in expected_best and the best loss, and as outside of the
    robust share.
    """
    for method, settings in recorded().items():
        init = np.array(initial(method))
        for repeat in range(repeats):
            order = np.random.default_rng(repeat).permutation(len(settings))
            shuffled = [settings[place] for place in order]
            ends = pruned(name, shuffled)
            whole_N = np.array([np.mean(list(one.final.values())) for one in shuffled])
            there = [one.seen[end] if end else one.final for one, end in zip(shuffled, ends, strict=True)]
            kept_N, is_kept_N = (
                np.array([np.mean(list(one.values())) for one in there]),
                np.array([not e for e in ends]),
            )
            found = {}
            for label, loss_N, inside_N in (("all", whole_N, True), ("kept", kept_N, is_kept_N)):
                best = expected_best(loss_N, np.array([BUDGET]))[0]
                within_N = regret(loss_N, np.array(best), init) <= DELTA
                found |= {f"best_{label}": best, f"share_{label}": float((within_N & inside_N).mean())}
            least = float(whole_N[is_kept_N].min())
            yield {
                **{"rule": name, "method": method, "repeat": repeat},
                "saved": 1 - float(np.mean([end or NUM_STEPS for end in ends])) / NUM_STEPS,
                "pruned": float(1 - is_kept_N.mean()),
                "lost": float(least > whole_N.min()),
                "regret": (least - float(whole_N.min())) / float(init - whole_N.min()),
                "expected": (found["best_kept"] - found["best_all"]) / float(init - found["best_all"]),
                "share": found["share_kept"] - found["share_all"],
                "whole_share": found["share_all"],
            }


def table() -> pl.DataFrame:
    """A row a rule: means over methods and orders of the committed replay."""
    return pl.read_csv(REPLAYED).group_by("rule", maintain_order=True).agg(pl.exclude("method", "repeat").mean())


def write_replays() -> None:
    """Replay every rule and write REPLAYED."""
    rows = pl.DataFrame([one for name in RULES for one in replays(name)])
    rows.with_columns(pl.selectors.float().round(6)).write_csv(REPLAYED)


if __name__ == "__main__":
    if sys.argv[1:] == ["train"]:
        train()
    write_replays()
    with pl.Config(tbl_cols=-1, tbl_width_chars=160):
        print(table())
