"""nanoGPT's character-level recipe for a laptop ends where nanoGPT's own code does, on the text that it was run on."""

import polars
import pytest

from bench.suite import find_suite, load_suite
from bench.training.pack import Pack
from bench.training.train import train_pack
from tests.shared_data import shared_data

# Held-out losses of nanoGPT's code (one run, each the mean of 20 batches of 12 windows), by step.
NANOGPT = {500: 2.29, 1000: 2.07, 1500: 1.95, 2000: 1.90}
# Twice the standard deviation of five seeds of ours (0.005), and of a mean over 240 windows of 64 characters (0.01).
TOLERANCE = 0.025


@pytest.mark.slow
def test_the_laptop_recipe_follows_nanogpts_own_code(tmp_path, monkeypatch):
    """Held-out losses along the way and at the end; about 5 minutes on two cores."""
    (tmp_path / "tinyshakespeare.txt").write_bytes(shared_data("tinyshakespeare/input.txt").read_bytes())
    monkeypatch.chdir(tmp_path)
    trials = load_suite(find_suite("nanogpt_char_laptop")).expand()
    results, traces = train_pack(Pack(trials=tuple(trial for trial in trials if trial.seed < 2)))
    held_out = polars.concat(traces[result.trial.id] for result in results).filter(quantity="val_loss")
    means = dict(held_out.group_by("step").agg(polars.col("value").mean()).iter_rows())
    assert {step: means[step] for step in NANOGPT} == pytest.approx(NANOGPT, abs=TOLERANCE)
