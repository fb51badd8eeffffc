"""Broken suite files: each gives one UsageError that says where, what was required and what was got."""

import os
import random
import re
import time
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.suite import find_suite, load_suite

GOOD = """\
name: broken
description: a good suite, before it is broken
workloads:
  - {name: in_context_regression, num_steps: 50}
methods:
  - softmax
  - {name: window_softmax, width: 4}
optimizers: [sgd]
schedules: [constant]
knobs:
  lr: {log: [1e-3, 10], per_decade: [1, 3]}
  warmup_steps: 0
seeds: 3
probe_every: 10
"""
LR = "{log: [1e-3, 10], per_decade: [1, 3]}"
BOMB = "a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b]\n"
HINT = re.compile(r"did you mean|must|exist|expected|remove|pass --|parameters|keys|knobs|required|no effect|quote")

# What replaces what in GOOD, where the error stands, and what it says.
EDITS = {
    "unknown method": ("- softmax", "- softmx", "6:5", "unknown method 'softmx'; did you mean 'softmax'?"),
    "unknown method, nothing near": (
        "- softmax",
        "- zzz",
        "6:5",
        "exist: softmax, softmax_control, window_softmax",
    ),
    "method no": ("- softmax", "- no", "6:5", "unknown method 'no'"),
    "method off in a mapping": ("window_softmax", "off", "7:12", "unknown method 'off'"),
    "method is a number": ("- softmax", "- 3", "6:5", "must be a name or a mapping with one, got 3"),
    "method is null": ("- softmax", "-", "6:4", "got nothing"),
    "method is true": ("- softmax", "- true", "6:5", "got true"),
    "method is a list": ("- softmax", "- [softmax]", "6:5", "got a list"),
    "method without a name": ("name: window_softmax, ", "", "7:5", "name is required"),
    "method in capitals": ("- softmax", "- SoftMax", "6:5", "did you mean 'softmax'"),
    "method with dashes": ("window_softmax", "window-softmax", "7:12", "did you mean 'window_softmax'"),
    "methods not a list": ("  - softmax\n  - {name: window_softmax, width: 4}", "  softmax", "6:3", "must be a list"),
    "methods a mapping": (
        "  - softmax\n  - {name: window_softmax, width: 4}",
        "  softmax: 1",
        "6:3",
        "must be a list, got a mapping",
    ),
    "methods empty": ("\n  - softmax\n  - {name: window_softmax, width: 4}", " []", "5:10", "must not be empty"),
    "methods null": ("\n  - softmax\n  - {name: window_softmax, width: 4}", "", "5:1", "must be a list, got nothing"),
    "same method twice": ("{name: window_softmax, width: 4}", "softmax", "7:5", "listed twice; remove one (line 6)"),
    "same method, defaults written out": (
        "- softmax",
        "- {name: window_softmax, width: 4}",
        "7:5",
        "window_softmax(width=4) is listed twice",
    ),
    "unknown parameter": ("width: 4", "widht: 4", "7:28", "unknown parameter 'widht'"),
    "unknown parameter, did you mean": ("width: 4", "widht: 4", "7:28", "did you mean 'width'?"),
    "parameter of another method": ("- softmax", "- {name: softmax, width: 8}", "6:21", "its parameters: none"),
    "parameter is text": ("width: 4", "width: wide", "7:35", "width must be a whole number, got 'wide'"),
    "parameter is quoted": ("width: 4", 'width: "4"', "7:35", "width must be a whole number, got '4'"),
    "parameter is a float": ("width: 4", "width: 4.0", "7:35", "written without a point, got 4.0"),
    "parameter is true": ("width: 4", "width: true", "7:35", "width must be a whole number, got true"),
    "parameter with the colon inside": ("width: 4", "width:", "7:28", "unknown parameter 'width:'"),
    "parameter too small": ("width: 4", "width: 0", "7:35", "greater than or equal to 1, got 0"),
    "parameter negative": ("num_steps: 50", "num_steps: -5", "4:46", "greater than or equal to 1, got -5"),
    "parameter is a list": ("width: 4", "width: [4, 8]", "7:35", "got a list"),
    "parameter is nan": ("- softmax", "- {name: relu_kernel, eps: .nan}", "6:30", "finite number, got .nan"),
    "parameter is infinite": ("- softmax", "- {name: relu_kernel, eps: .inf}", "6:30", "finite number, got .inf"),
    "parameter overflows": ("- softmax", "- {name: relu_kernel, eps: 1e999}", "6:30", "finite number"),
    "parameter is no option": ("num_steps: 50", "embedding: tokns", "4:46", "did you mean 'tokens'?"),
    "switch is a word": ("num_steps: 50", "residual: yes", "4:45", "must be true or false, got 'yes'"),
    "unknown workload": ("in_context_regression", "in_context_regresion", "4:12", "did you mean"),
    "unknown optimizer": ("[sgd]", "[sdg]", "8:14", "unknown optimizer 'sdg'; did you mean 'sgd'?"),
    "optimizer not a list": ("[sgd]", "sgd", "8:13", "optimizers must be a list, got 'sgd'"),
    "optimizer parameter out of range": (
        "[sgd]",
        "[{name: sgd_momentum, momentum: 1.5}]",
        "8:45",
        "momentum must be less than 1, got 1.5",
    ),
    "same optimizer twice": ("[sgd]", "[sgd, {name: sgd}]", "8:19", "sgd is listed twice"),
    "unknown schedule": ("[constant]", "[consine]", "9:13", "did you mean"),
    "code without permission": ("- softmax", "- my_package.own:Method", "6:5", "pass --allow-code"),
    "code in a mapping": ("window_softmax, width: 4", '"os:system"', "7:12", "pass --allow-code"),
    "code that is no target": ("- softmax", "- my/package:Method", "6:5", "must be package.module:Class"),
    "code with a space": ("- softmax", '- "os:system "', "6:5", "must be package.module:Class"),
    "number in quotes": ("width: 4", 'width: "4"', "7:35", "got '4'; leave out the quotes"),
    "name that is a number": ("name: broken", "name: 2024", "1:7", "name must be text, got 2024; write it in quotes"),
    "no-break space": ("seeds: 3", "seeds:\N{NO-BREAK SPACE}3", "13:7", "expected a plain one"),
    "unknown key": ("seeds: 3", "sedes: 3", "13:1", "unknown key 'sedes'; did you mean 'seeds'?"),
    "unknown key, nothing near": ("seeds: 3", "seeds: 3\nxyz: 1", "14:1", "known keys: name, description, workloads"),
    "unknown knob": ("warmup_steps", "warmup", "12:3", "did you mean 'warmup_steps'?"),
    "unknown key of a grid": ("per_decade", "per_decades", "11:25", "did you mean 'per_decade'?"),
    "merge key": ("  warmup_steps: 0", "  <<: {lr: 1}", "12:3", "unknown key '<<'"),
    "duplicate key": (
        "seeds: 3",
        "seeds: 3\nseeds: 4",
        "14:1",
        "duplicate key 'seeds'; remove it or the first one, on",
    ),
    "duplicate key inside": ("width: 4", "width: 4, width: 5", "7:38", "duplicate key 'width'"),
    "number as a key": ("  warmup_steps: 0", "  1: 0", "12:3", "a key must be text"),
    "list as a key": ("  warmup_steps: 0", "  ? [a]\n  : 0", "12:5", "a key must be text"),
    "null as a key": ("seeds: 3", "~: 3", "13:1", "a key must be text"),
    "no name": ("name: broken\n", "", "1:1", "name is required"),
    "no methods": ("methods:\n  - softmax\n  - {name: window_softmax, width: 4}\n", "", "1:1", "methods is required"),
    "no learning rate": (f"  lr: {LR}\n", "", "11:3", "lr is required"),
    "no knobs": (f"knobs:\n  lr: {LR}\n  warmup_steps: 0\n", "", "1:1", "knobs is required"),
    "knobs a list": (f"  lr: {LR}\n  warmup_steps: 0", "  - lr", "11:3", "knobs must be a mapping, got a list"),
    "name a number": ("name: broken", "name: 12", "1:7", "name must be text, got 12"),
    "name a list": ("name: broken", "name: [a]", "1:7", "name must be text, got a list"),
    "name null": ("name: broken", "name:", "1:1", "name must be text, got nothing"),
    "name empty": ("name: broken", 'name: ""', "1:7", "name must be letters"),
    "name a path": ("name: broken", "name: ../../etc/passwd", "1:7", "name must be letters"),
    "name with a control character": ("name: broken", r'name: "a\nb"', "1:7", r"got 'a\nb'"),
    "name with a final line break": ("name: broken", r'name: "a\n"', "1:7", "name must be letters"),
    "name hidden": ("name: broken", "name: .hidden", "1:7", "a letter or digit first"),
    "name too long": ("name: broken", f"name: {'a' * 101}", "1:7", "at most 100 characters"),
    "description a number": ("a good suite, before it is broken", "1", "2:14", "description must be text, got 1"),
    "lr zero": (LR, "0", "11:7", ": lr must be greater than 0, got 0"),
    "lr negative": (LR, "[0.1, -0.1]", "11:13", "greater than 0, got -0.1"),
    "lr nan": (LR, ".nan", "11:7", "must be a finite number, got .nan"),
    "lr infinite": (LR, "[.inf]", "11:8", "must be a finite number, got .inf"),
    "lr text": (LR, "high", "11:7", "must be a number, got 'high'"),
    "lr true": (LR, "true", "11:7", "must be a number, got true"),
    "lr null": (LR, "", "11:3", "must be a number, got nothing"),
    "lr empty": (LR, "[]", "11:7", "lr must not be empty"),
    "lr nested": (LR, "[[0.1]]", "11:8", "must be a number, got a list"),
    "lr twice": (LR, "[0.1, 1, 1e-1]", "11:16", "0.1 is listed twice"),
    "lr of 400 digits": (LR, "1" * 400, "11:7", "must fit in 64 bits"),
    "lr of 5000 digits": (LR, "1" * 5000, "11:7", "must fit in 64 bits"),
    "grid of one bound": ("[1e-3, 10]", "[1e-3]", "11:13", "is required"),
    "grid of three bounds": ("[1e-3, 10]", "[1e-3, 1, 10]", "11:13", "at most 2 items"),
    "grid from zero": ("[1e-3, 10]", "[0, 10]", "11:14", "must be greater than 0, got 0"),
    "grid reversed": ("[1e-3, 10]", "[10, 1e-3]", "11:13", "low first"),
    "grid to infinity": ("[1e-3, 10]", "[1e-3, .inf]", "11:20", "must be a finite number, got .inf"),
    "grid without factors": (", per_decade: [1, 3]", "", "11:7", "per_decade is required"),
    "grid with no factor": ("[1, 3]", "[]", "11:37", "per_decade must not be empty"),
    "grid factor too large": ("[1, 3]", "[1, 10]", "11:41", "must be less than 10, got 10"),
    "grid factor too small": ("[1, 3]", "[0.5, 3]", "11:38", "greater than or equal to 1, got 0.5"),
    "lr spelled twice": (
        LR,
        "[3.0e-4, 0.00030000000000000003]",
        "11:16",
        "0.00030000000000000003 and 0.0003 are one value",
    ),
    "grid factor twice": ("[1, 3]", "[1, 1.0]", "11:41", "1.0 is listed twice"),
    "grid without values": ("[1e-3, 10]", "[1.5e-3, 2e-3]", "11:13", "must span a value"),
    "warmup negative": ("warmup_steps: 0", "warmup_steps: -1", "12:17", "greater than or equal to 0, got -1"),
    "warmup a fraction": ("warmup_steps: 0", "warmup_steps: 0.5", "12:17", "must be a whole number, got 0.5"),
    "warmup longer than the run": ("warmup_steps: 0", "warmup_steps: [0, 51]", "12:21", "must be at most num_steps"),
    "weight decay infinite": ("warmup_steps: 0", "weight_decay: .inf", "12:17", "must be a finite number"),
    "clipping to zero": ("warmup_steps: 0", "grad_clip: 0", "12:14", "must be greater than 0, got 0"),
    "clipping to nan": ("warmup_steps: 0", "grad_clip: .nan", "12:14", "must be greater than 0, got .nan"),
    "clipping misspelt": ("warmup_steps: 0", "grad_clip: Off", "12:14", "must be a number, got 'Off'"),
    "clipping off twice": ("warmup_steps: 0", "grad_clip: [.inf, off]", "12:21", "listed twice"),
    "initial scale zero": ("warmup_steps: 0", "init_scale: 0.0", "12:15", "must be greater than 0"),
    "seeds zero": ("seeds: 3", "seeds: 0", "13:8", "seeds must be a count from 1"),
    "seeds negative": ("seeds: 3", "seeds: -3", "13:8", "seeds must be a count from 1"),
    "seeds a float": ("seeds: 3", "seeds: 3.0", "13:8", "seeds must be a count or a list"),
    "seeds true": ("seeds: 3", "seeds: true", "13:8", "got true"),
    "seeds text": ("seeds: 3", "seeds: three", "13:8", "got 'three'"),
    "seeds empty": ("seeds: 3", "seeds: []", "13:8", "seeds must not be empty"),
    "seeds twice": ("seeds: 3", "seeds: [1, 2, 1]", "13:15", "1 is listed twice"),
    "seed negative": ("seeds: 3", "seeds: [1, -2]", "13:12", "greater than or equal to 0, got -2"),
    "seed too large": ("seeds: 3", "seeds: [4294967296]", "13:9", "must be less than 4294967296"),
    "seed true": ("seeds: 3", "seeds: [true]", "13:9", "must be a whole number, got true"),
    "seeds past all limits": ("seeds: 3", "seeds: 1000000000000", "13:8", "count from 1 to 1,000,000"),
    "too many trials": ("seeds: 3", "seeds: 1000000", "13:8", "2 methods x 1000000 seeds x 9 lr = 18,000,000 trials"),
    "probe_every zero": ("probe_every: 10", "probe_every: 0", "14:14", "greater than or equal to 1, got 0"),
    "probe_every a float": ("probe_every: 10", "probe_every: 10.0", "14:14", "must be a whole number"),
    "probe_every 65 bits": ("probe_every: 10", "probe_every: 99999999999999999999", "14:14", "64 bits"),
    "tab": ("  warmup_steps", "\twarmup_steps", "12:1", "not valid YAML"),
    "open bracket": ("[sgd]", "[sgd", "9:10", "not valid YAML"),
    "open quote": ("name: broken", 'name: "broken', "15:1", "that starts on line 1"),
    "bad indentation": ("  warmup_steps", "    warmup_steps", "12:5", "not valid YAML"),
    "bad escape": ("name: broken", r'name: "\q"', "1:9", "not valid YAML"),
    "colon in text": ("a good suite, before", "a good suite: before", "2:26", "mapping values are not allowed"),
    "python tag": ("name: broken", "name: !!python/object/apply:os.system [ls]", "1:7", "tags (!)"),
    "local tag": ("- softmax", "- !softmax", "6:5", "tags (!)"),
    "anchor": ("name: broken", "name: &a broken", "1:7", "anchors (&)"),
    "alias": ("- softmax", "- *a", "6:5", "anchors (&)"),
    "old YAML": ("name: broken", "%YAML 1.1\n---\nname: no", "2:1", "remove the line"),
    "two documents": ("probe_every: 10\n", "probe_every: 10\n---\nname: b\n", "15:1", "a second document"),
    "control character": ("name: broken", "name: bro\x07ken", "1:10", "control character '\\x07'"),
    "null byte": ("seeds: 3", "seeds: \x00", "13:8", "control character"),
}

# Whole files, where the error stands, and what it says.
FILES = {
    "empty": (b"", "1:1", "the file is empty"),
    "comments only": (b"# nothing\n", "1:1", "the file is empty"),
    "a dash": (b"---\n", "2:1", "must be a mapping"),
    "empty mapping": (b"{}", "1:1", "name is required"),
    "a list": (b"- softmax\n", "1:1", "a suite must be a mapping"),
    "a word": (b"\n\nsoftmax\n", "3:1", "a suite must be a mapping"),
    "binary": (b"name: a\n\x89PNG\xff\xfe\x00", "2:1", "not text; a suite must be in UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), "1:1", "UTF-8"),
    "Latin-1": (GOOD.replace("a good", "\xe9").encode("latin-1"), "2:14", "UTF-8"),
    "alias bomb": (BOMB.encode(), "1:4", "anchors (&)"),
    "thirty thousand values": (b"name: [" + b"1," * 30_000 + b"]", "1:10004", "more than 5,000 values"),
    "ten thousand brackets": (b"name: " + b"[" * 10_000, "1:15", "nested deeper than 8"),
    "ten thousand braces": (b"{a: " * 10_000, "1:37", "nested deeper than 8"),
    "ten thousand dashes": (b"- " * 10_000, "1:19", "nested deeper than 8"),
    "ten thousand indents": (b"".join(b" " * i + b"a:\n" for i in range(300)), "10:10", "nested deeper than 8"),
}


def broken(tmp_path: Path, content: bytes) -> str:
    """The error of a file with this content."""
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    started = time.process_time()
    with pytest.raises(UsageError) as caught:
        load_suite(path)
    assert time.process_time() - started < 1
    lines = str(caught.value).splitlines()
    assert 1 <= len(lines) <= 11
    for line in lines:
        assert re.match(re.escape(str(path)) + r":\d+:\d+: \S", line) or re.fullmatch(r"and \d+ more problems", line)
        assert len(line) < 400 + len(str(path))
        assert line.isprintable()
    assert HINT.search(lines[0]), lines[0]
    return lines[0].removeprefix(f"{path}:")


def assert_reported(edit: tuple[str, str, str, str], tmp_path: Path) -> None:
    """Of what replaces what in GOOD: the error stands at this place and says this."""
    old, new, place, words = edit
    assert GOOD.count(old) == 1
    message = broken(tmp_path, GOOD.replace(old, new).encode())
    assert message.startswith(f"{place}: ")
    assert words in message


@pytest.mark.parametrize("case", EDITS)
def test_broken_value_is_reported_where_it_stands(case, tmp_path):
    assert_reported(EDITS[case], tmp_path)


@pytest.mark.parametrize("case", FILES)
def test_broken_file_is_reported(case, tmp_path):
    content, place, words = FILES[case]
    message = broken(tmp_path, content)
    assert message.startswith(f"{place}: ")
    assert words in message


def test_the_suite_that_is_broken_above_is_good(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    assert load_suite(path).num_trials == 2 * 9 * 3


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_suite(path).num_trials == 2 * 9 * 3


def test_several_problems_are_reported_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD.replace("probe_every: 10", "probe_every: 0").replace("softmax\n", "softmx\n"))
    with pytest.raises(UsageError) as caught:
        load_suite(path)
    assert [line.removeprefix(f"{path}:").split(":")[0] for line in str(caught.value).splitlines()] == ["6", "14"]


def test_at_most_ten_problems_are_listed(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD.replace(LR, str([-1 - i for i in range(30)])))
    with pytest.raises(UsageError) as caught:
        load_suite(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "and 20 more problems"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such suite file"),
        (lambda path: path.mkdir(), "must be a file, got a directory"),
        (lambda path: os.mkfifo(path), "must be a file"),
        (lambda path: path.symlink_to(path), "can't be read"),
        (lambda path: path.write_text("# " + "a" * 2_000_000), "too large for a suite"),
    ],
)
def test_what_is_no_readable_file_is_refused(make, words, tmp_path):
    path = tmp_path / "x.yaml"
    make(path)
    with pytest.raises(UsageError, match=words) as caught:
        load_suite(path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_file_without_permission_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    path.chmod(0)
    with pytest.raises(UsageError, match="can't be read: Permission denied"):
        load_suite(path)


@pytest.mark.parametrize("name", ["quickstrat", "a\0b", "a" * 5000, "no/such/file.yaml", "line\nbreak"])
def test_name_of_no_suite_lists_the_shipped_ones(name):
    with pytest.raises(UsageError, match="quickstart") as caught:
        find_suite(name)
    assert "\n" not in str(caught.value)


def mutated(text: str, rng: random.Random) -> bytes:
    """The text after one to four flips, deletions, insertions or swaps of bytes or of words."""
    raw = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        i, j = rng.randrange(len(raw)), rng.randrange(len(raw))
        kind = rng.randrange(6)
        if kind == 0:
            raw[i] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del raw[i : i + rng.randint(1, 20)]
        elif kind == 2:
            raw[i], raw[j] = raw[j], raw[i]
        elif kind == 3:
            raw[i:i] = rng.choice(b"[]{},:-#&*!|>'\"%@`?~\n\t \\0.e\xc3\xa9").to_bytes()
        elif kind == 4:
            raw[i:i] = raw[j : j + rng.randint(1, 30)]
        else:
            raw[i:i] = rng.choice([b"\\U99999999", b"%YAML 9.9", b": |9\n", b"!!x ", b"\xe2\x80\xa8", b"? ", b"1e400 "])
    return bytes(raw)


@pytest.mark.parametrize("seed", range(6))
def test_mutated_suite_is_read_or_refused_in_a_second(seed, tmp_path):
    rng = random.Random(seed)
    path = tmp_path / "x.yaml"
    for _ in range(50):
        content = mutated(GOOD, rng)
        path.write_bytes(content)
        started = time.process_time()
        message = f"{path}:"
        try:
            load_suite(path)
        except UsageError as error:
            message = str(error)
        assert time.process_time() - started < 1, content
        assert message.startswith(f"{path}:"), content
        assert len(message.splitlines()) <= 11, content
