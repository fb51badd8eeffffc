"""What Inductor compiles trains as what is traced does, on CUDA: every entry and every setting, forced.

One file for many processes: `pytest -m gpu -n 8 tests/conformance/test_compiled.py`; with `-rP` each case says how far
the two lie apart.
"""

import pytest
import torch

from bench.entry import load_class, parameters
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.training.inductor import Compiling
from bench.training.train import PackRun
from bench.workloads import WORKLOADS
from tests.conformance.compiled_cases import (
    BASES,
    CASES,
    DATA,
    NUM_STEPS,
    PRESETS,
    Case,
    settings_of,
    structure_of,
)  # fmt: skip

DEVICE = "cuda"
# Relative, of the losses of all steps; kernels that fuse round less often, in bfloat16 by up to 3 digits.
ROUNDING = {False: 1e-5, True: 2e-3}
# Signs, and roots of matrices, make steps of differences that were none: relative to the loss.
AMPLIFIED = {"lion": 1e-3, "shampoo": 1e-3, "muon": 1e-4}
# A loss of cosines over a temperature of 0.2 has five times their rounding, and so has each of two that are compared.
AT_A_TEMPERATURE = {"self_supervised_images": 10}
# What a bound of the loss allows for what is measured otherwise.
LOOSER = {"initial_loss": 1, "loss": 1, "val_loss": 1, "grad_norm": 30, "observed": 30}
SMALLEST = 1e-3  # values below it are compared by their difference to this


def history_of(case: Case, compiling: Compiling) -> dict[str, torch.Tensor]:
    """What was traced of every lane, by quantity; lanes last. Raises AssertionError if anything was left uncompiled."""
    run = PackRun(case.pack, device=DEVICE, compiling=compiling)
    run.advance()
    assert run.uncompiled == ()
    assert not run.num_frozen, "bounds are those of lanes that train"
    held = {name: tensor.double().cpu() for name, tensor in run.state()["history"].items()}
    observed = [tensor.movedim(1, -1).flatten(0, -2) for name, tensor in held.items() if name.startswith("observed_")]
    kept = {name: held[name] for name in ("initial_loss", "loss", "grad_norm")} | {"observed": torch.cat(observed)}
    return kept | ({"val_loss": held["val"][..., 0]} if len(held["val"]) else {})


def apart(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the expected value or to SMALLEST."""
    assert expected.isfinite().all()
    return ((actual - expected).abs() / expected.abs().clamp_min(SMALLEST)).max().item()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("default")  # Inductor warns on its own account
@pytest.mark.parametrize("name", CASES)
def test_compiled_training_equals_what_was_traced(name):
    case = CASES[name]
    plain, compiled = history_of(case, "never"), history_of(case, "always")
    assert plain.keys() == compiled.keys() <= LOOSER.keys()
    assert (plain["loss"][-1] != plain["loss"][0]).all(), "nothing was trained"
    bound = AMPLIFIED[case.optimizer] if case.optimizer in AMPLIFIED else ROUNDING[case.is_mixed]
    bound *= AT_A_TEMPERATURE.get(case.workload, 1)
    found = {quantity: apart(compiled[quantity], plain[quantity]) for quantity in plain}
    print(f"{name}: apart by", ", ".join(f"{quantity} {value:.1e}" for quantity, value in found.items()))
    assert {quantity: value for quantity, value in found.items() if value > bound * LOOSER[quantity]} == {}


def test_every_entry_and_every_setting_is_a_case():
    for kind, entries in (("method", METHODS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        assert {getattr(case, kind) for case in CASES.values()} == entries.keys()
    for workload, target in WORKLOADS.items():
        rows = settings_of(workload)
        sized = (
            {"model"} if len({tuple(structure_of(one).items()) for one in PRESETS[workload].values()}) == 1 else set()
        )
        assert {*parameters(load_class(target))} - {name for row in rows for name in row} <= DATA | sized
        for name, value in (pair for row in rows for pair in row.items()):
            assert name not in BASES[workload] or value != BASES[workload][name] or name == "num_heads"


def test_every_case_trains_a_few_steps_of_lanes_with_knobs_of_their_own():
    for case in CASES.values():
        assert case.pack.trials[0].num_steps <= NUM_STEPS
