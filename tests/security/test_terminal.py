"""Names and manifests of others don't steer the terminal on which they are shown, whatever prints them."""

import contextlib
import os
import sys
import threading
import tty
from types import SimpleNamespace

import pytest

from bench.cli.app import main
from bench.cli.progress import ProgressDisplay
from bench.cli.streams import open_streams, prints_aside

TITLE = "\x1b]0;pwned\x07"  # sets the title of the window
HOSTILE = f"{TITLE}\x1b[2J\x1b[1;1H\x9b31m\r\x08\x1b[8m\u202e\x1b[5n"
SHOWN = r"\x1b]0;pwned\x07\x1b[2J\x1b[1;1H\x9b31m\r\x08\x1b[8m\u202e\x1b[5n"


@contextlib.contextmanager
def terminal():
    """A terminal as stdout and stderr; `.text` of what is yielded is all that was written to it, after the block."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    seen, content = SimpleNamespace(text=""), bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # which the end of a terminal is
            while part := os.read(ours, 65536):
                content.extend(part)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with (
        open(theirs, "w", buffering=1, closefd=False) as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        yield seen
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    seen.text = content.decode()


def test_what_is_printed_is_shown_as_it_is():
    with terminal() as seen, open_streams():
        print(HOSTILE, "\tand \x1b[1mbold\x1b[0m")
        with prints_aside():
            print(HOSTILE)
        sys.stderr.writelines([HOSTILE, "\n"])
    assert seen.text == f"{SHOWN} \tand \x1b[1mbold\x1b[0m\n{SHOWN}\n{SHOWN}\n"


def test_the_streams_are_as_before_afterwards():
    with terminal():
        before = sys.stdout, sys.stderr
        with contextlib.suppress(ValueError), open_streams():
            raise ValueError
        assert (sys.stdout, sys.stderr) == before


def test_a_file_has_what_was_printed(capsys):
    with open_streams():
        print(HOSTILE)
    assert capsys.readouterr().out == f"{HOSTILE}\n"


def test_a_bar_moves_and_names_in_it_do_not(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as seen, open_streams(), ProgressDisplay() as display:
        print(HOSTILE, file=sys.stderr)  # while the bar is there it prints what others print
        display.wait(HOSTILE)
    assert "\x1b[?25l" in seen.text
    for wrong in (TITLE, "\x1b[2J", "\x1b[1;1H", "\x9b", "\x08", "\x07", "\x1b[5n"):
        assert wrong not in seen.text


@pytest.mark.parametrize("words", [["validate", "x.yaml"], ["run", f"{HOSTILE}.yaml"], ["status", HOSTILE], [HOSTILE]])
def test_commands_print_no_controls(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text('name: "\\e]0;pwned\\a\\e[2J"\nmethods: ["\\e[2J"]\n')
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with terminal() as seen, pytest.raises(SystemExit):
        main()
    assert "\\x1b" in seen.text
    assert not {letter for letter in seen.text if not letter.isprintable()} - {"\n", "\t"}
