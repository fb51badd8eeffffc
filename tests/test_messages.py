"""Every error for a user says what would be right, or has what to do in the table of suites/README.md."""

import re
from pathlib import Path

import pytest

from tests.messages import ROOT, UNKNOWN, messages, messages_of

README = (ROOT / "suites/README.md").read_text(encoding="utf-8")
# Words by which a message says itself what is required, what there is, or what to do.
EXPLAINS = re.compile(
    r"required|\bmust\b|\bneeds?\b|at (least|most)|expected|did you mean|there are|th(at|ere) exist|\bit has\b"
    r"|\b(are|is) for\b|such as|\w are …|the (same command|next run)|converts it"
    r"|(; |, |, or | or |: )`?(use|take|name|keep|save|unpack|prepare|run|set|pass|fetch|open|move|copy|update|bring"
    r"|install|ask|remove|write|list|bench|see|give|leave|wait|pip)\b"
)
MOST_BEFORE = 3  # words before what is handed on: whose it is


def advised() -> list[str]:
    """The messages of the table, each a part of what is printed."""
    rows = README.partition("| message | what to do |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(.+?)` \|", rows, flags=re.MULTILINE)


def is_handed_on(words: str) -> bool:
    """Whether a message is another's (the system's, a server's, one of ours made elsewhere) and says whose."""
    return (not words or words.rstrip("; ").endswith(UNKNOWN)) and len(re.findall(r"[\w']+", words)) <= MOST_BEFORE


def is_answered(words: str, rows: list[str]) -> bool:
    """Whether who reads the message knows what to do."""
    return bool(EXPLAINS.search(words)) or is_handed_on(words) or any(row in words for row in rows)


def test_every_message_of_an_error_says_what_would_be_right_or_has_advice():
    found = list(messages())
    assert len(found) > 500
    assert [message for message in found if not is_answered(message.words, advised())] == []
    assert sum(is_handed_on(message.words) for message in found) < len(found) / 10


def test_every_message_that_has_advice_is_printed_somewhere():
    paths = [path for room in ("bench", "analysis") for path in ROOT.glob(f"{room}/**/*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    assert len(advised()) > 15
    assert [message for message in advised() if message not in code] == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise UsageError('it is wrong')", "it is wrong"),
        ("def f(x):\n    what = f'{x}: it'\n    raise StoreError(what + ' broke')", "…: it broke"),
        ("WHY = 'a trial failed'\ndef f():\n    raise BudgetError(WHY)", "a trial failed"),
        ("def why(x):\n    return 'no seed' if x else 'no rate'\nreject(problem(why(1)))", "no seed no rate"),
        ("raise UsageError('; '.join(f'{x} is odd' for x in xs))", "… is odd ;"),
    ],
)
def test_a_message_without_advice_is_found(code: str, words: str, tmp_path: Path):
    path = tmp_path / "room.py"
    path.write_text(code, encoding="utf-8")
    [found] = messages_of(path)
    assert (found.place, found.words) == (f"{path}:{code.count(chr(10)) + 1}", words)
    assert not is_answered(found.words, advised())


def test_a_message_that_hands_on_a_reason_says_no_more():
    assert is_handed_on("images …: …")
    assert not is_handed_on("images …: broken")
    assert not is_handed_on("the images of … are broken: …")
