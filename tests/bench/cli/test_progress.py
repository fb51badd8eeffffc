"""What a person watches: lines and a bar on stderr."""

import re
import time

import pytest

from bench.cli.progress import ProgressDisplay
from bench.cluster.connect import Resources
from bench.cluster.retries import Part
from bench.cluster.schedule import Progress
from bench.training.pack import Pack
from tests.trials import trial


def part(method: str = "softmax", workload: str = "in_context_regression") -> Part:
    return Part.whole(Pack(trials=(trial(method=method, workload=workload),)))


def half_done(seconds: float = 100.0) -> Progress:
    """Of 10 trials, 800 of 1,600 lane steps after so many seconds; two packs train."""
    return Progress(
        total=10,
        completed=3,
        diverged=1,
        failed=1,
        running=2,
        parts=(part("softmax"), part("relu_kernel")),
        total_steps=1600,
        steps={part(): 800},
        started=time.monotonic() - seconds,
    )


def printed(capfd) -> list[str]:
    """The lines on stderr; stdout is for data."""
    out, err = capfd.readouterr()
    assert out == ""
    return err.splitlines()


@pytest.mark.parametrize(("gpus", "share"), [(0, "1 CPU"), (0.25, "0.25 GPU")])
def test_a_run_says_on_stderr_what_it_starts(capfd, gpus, share):
    with ProgressDisplay() as display:
        display.start(10, 4, Resources(cpus=1, gpus=gpus))
    assert printed(capfd) == [f"10 trials to run, in 4 packs of {share} each"]


def test_where_stderr_is_no_terminal_there_is_a_line_now_and_then(capfd):
    with ProgressDisplay() as display:
        for _ in range(3):  # within ten seconds
            display.update(half_done())
    assert printed(capfd) == [
        "5/10 done, 1 diverged, 1 failed, 1 min 40 s left; 2 running (relu_kernel, softmax), 3 trials/min, 0 s elapsed"
    ]


@pytest.mark.parametrize(("seconds", "left"), [(7.0, "7 s"), (60.0, "1 min 0 s"), (7290.0, "2 h 1 min")])
def test_time_left_is_that_of_the_steps_that_are_missing(capfd, seconds, left):
    with ProgressDisplay() as display:
        display.update(half_done(seconds))
    assert printed(capfd)[0].startswith(f"5/10 done, 1 diverged, 1 failed, {left} left;")


@pytest.mark.parametrize(
    ("seconds", "rate"), [(0.1, "50 trials/s"), (2.0, "2.5 trials/s"), (20.0, "0.25 trials/s"), (300.0, "1 trials/min")]
)
def test_the_rate_is_that_of_the_trials_that_are_done(capfd, seconds, rate):
    with ProgressDisplay() as display:
        display.update(half_done(seconds))
    assert f", {rate}, " in printed(capfd)[0]


def test_time_elapsed_is_that_since_the_command_began(capfd, monkeypatch):
    with ProgressDisplay() as display:
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 3725)
        display.update(half_done())
    assert printed(capfd)[0].endswith(", 1 h 2 min elapsed")


def test_before_the_first_step_what_is_waited_for_is_said_and_no_time_promised(capfd):
    with ProgressDisplay() as display:
        display.wait("starting Ray")
        display.update(Progress(total=10, total_steps=1600, running=1, parts=(part("qk_norm"),)))
    waiting = "0/10 done, 0 diverged, 0 failed; workers start, trace and compile qk_norm, 0 s elapsed"
    assert printed(capfd) == ["starting Ray", waiting]


def test_of_many_methods_the_first_are_named_and_of_several_workloads_they_are_told_apart(capfd):
    methods = ("softmax", "relu_kernel", "qk_norm", "qk_clip", "cosformer")
    with ProgressDisplay() as display:
        display.update(Progress(total=10, parts=tuple(map(part, methods))))
    assert "compile cosformer, qk_clip, qk_norm and 2 more, " in printed(capfd)[0]
    two = (part(), part(workload="language_modeling"))
    with ProgressDisplay() as display:
        display.update(Progress(total=10, parts=two))
    assert "compile softmax on in_context_regression, softmax on language_modeling, " in printed(capfd)[0]


@pytest.mark.parametrize("columns", [80, 150])
def test_on_a_terminal_there_is_a_bar_and_no_line_is_broken(capfd, monkeypatch, columns):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    with ProgressDisplay() as display:
        display.wait("starting Ray")
        display.start(10, 4, Resources(cpus=1, gpus=0))
        display.update(half_done())
    drawn = capfd.readouterr()
    assert drawn.out == ""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.err)
    assert "training ━" in plain
    assert "5/10 done, 1 diverged, 1 failed, 1 min 40 s left" in plain
    assert "2 running (relu_kernel, softmax), 3 trials/" in plain
    assert max(len(line) for line in plain.replace("\r", "\n").splitlines()) <= columns
