"""Result: what it holds survives JSON, and is a row of the frame that scores are computed from."""

import dataclasses
import json
import math
from typing import Any

import pytest

from bench.held_out import HELD_OUT_COLUMNS
from bench.outcome import LOSSES, RESULT_COLUMNS, Outcome, Result
from bench.trial import Choice, Knobs, Trial

NAMED = Choice(name="named", params={"num_steps": 400})
TRIAL = Trial(
    workload=NAMED, method=NAMED, optimizer=NAMED, schedule=NAMED, knobs=Knobs(lr=0.3), seed=1, probe_every=10
)
RESULT = Result(
    trial=TRIAL,
    outcome=Outcome.COMPLETED,
    initial_loss=1.0,
    final_loss=0.5,
    held_out={"initial_val_loss": 1.25, "val_loss": 0.75, "val_accuracy": 0.5, "val_calibration_error": 0.125},
    wall_s=0.5,
)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("loss", [0.5, math.inf, None])
def test_result_survives_json(name, loss):
    is_held_out = name in HELD_OUT_COLUMNS
    changes: dict[str, Any] = {"held_out": {**RESULT.held_out, name: loss}} if is_held_out else {name: loss}
    result = dataclasses.replace(RESULT, **changes)
    back = Result.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False)))
    assert back == result


def test_a_result_written_before_there_was_held_out_data_is_read():
    plain = {name: value for name, value in RESULT.to_dict().items() if "val" not in name}
    assert Result.from_dict(plain) == dataclasses.replace(RESULT, held_out={})


def test_a_row_holds_every_column_in_its_place():
    row = RESULT.row()
    assert list(row) == list(RESULT_COLUMNS)
    assert row["trial_id"] == TRIAL.id
    assert [row[name] for name in ("val_loss", "val_accuracy", "val_calibration_error")] == [0.75, 0.5, 0.125]
