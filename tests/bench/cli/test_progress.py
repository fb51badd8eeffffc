"""What a person watches: lines and a bar on stderr."""

import time

import pytest

from bench.cli.progress import ProgressDisplay
from bench.cluster.connect import Resources
from bench.cluster.retries import Part
from bench.cluster.schedule import Progress
from bench.training.pack import Pack
from tests.trials import trial


def half_done(seconds: float = 100.0) -> Progress:
    """Of 10 trials, 800 of 1,600 lane steps after so many seconds."""
    return Progress(
        total=10,
        completed=3,
        diverged=1,
        failed=1,
        running=2,
        total_steps=1600,
        steps={Part.whole(Pack(trials=(trial(),))): 800},
        started=time.monotonic() - seconds,
    )


def printed(capfd) -> list[str]:
    """The lines on stderr; stdout is for data."""
    out, err = capfd.readouterr()
    assert out == ""
    return err.strip().splitlines()


@pytest.mark.parametrize(("gpus", "share"), [(0, "1 CPU"), (0.25, "0.25 GPU")])
def test_a_run_says_on_stderr_what_it_starts(capfd, gpus, share):
    with ProgressDisplay() as display:
        display.start(10, 4, Resources(cpus=1, gpus=gpus))
    assert printed(capfd) == [f"10 trials to run, in 4 packs of {share} each"]


def test_where_stderr_is_no_terminal_there_is_a_line_now_and_then(capfd):
    with ProgressDisplay() as display:
        for _ in range(3):  # within ten seconds
            display.update(half_done())
    assert printed(capfd) == ["5/10 done, 1 diverged, 1 failed, 2 running, 1 min 40 s left"]


@pytest.mark.parametrize(("seconds", "left"), [(7.0, "7 s"), (60.0, "1 min 0 s"), (7290.0, "2 h 1 min")])
def test_time_left_is_that_of_the_steps_that_are_missing(capfd, seconds, left):
    with ProgressDisplay() as display:
        display.update(half_done(seconds))
    assert printed(capfd) == [f"5/10 done, 1 diverged, 1 failed, 2 running, {left} left"]


def test_before_the_first_step_no_time_is_promised(capfd):
    with ProgressDisplay() as display:
        display.update(Progress(total=10, total_steps=1600))
    assert printed(capfd) == ["0/10 done, 0 diverged, 0 failed, 0 running"]


def test_on_a_terminal_there_is_a_bar(capfd, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "150")
    with ProgressDisplay() as display:
        display.start(10, 4, Resources(cpus=1, gpus=0))
        display.update(half_done())
    drawn = capfd.readouterr()
    assert drawn.out == ""
    assert "training" in drawn.err
    assert "━" in drawn.err
    assert "5/10 done, 1 diverged, 1 failed, 2 running, 1 min 40 s left" in drawn.err
