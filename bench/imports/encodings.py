"""as_utf_8(): the text of a file in an encoding that it says; of another, what it looks like and what converts it."""

from __future__ import annotations

import codecs
import re
import shlex
from pathlib import PurePath

from bench.errors import UsageError
from bench.imports.columns import BYTE_ORDER_MARK, REQUIRED

# By their marks, the longer ones first: that of UTF-32 begins as that of UTF-16 does.
_MARKED = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
           codecs.BOM_UTF16_BE: "UTF-16"}  # fmt: skip
_UNPACKS = {"gzip": "gzip -dc", "bzip2": "bzip2 -dc", "xz": "xz -dc", "ZIP": "unzip -p"}
_CONTROLS = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_OF_WINDOWS = re.compile(rb"[\x80-\x9f]")
_LETTERS_IN_A_ROW = re.compile(rb"[\x80-\xff]{4,}")
_OTHERS = "GBK, Shift_JIS or KOI8-R"


def as_utf_8(content: bytes, file_name: str, packed_by: str = "") -> tuple[bytes, tuple[str, ...]]:
    """The text in UTF-8 without its mark, and in words what it was in, if in UTF-16 or UTF-32 with their marks.

    packed_by: what the file was unpacked from. Raises UsageError for other text, with what it looks like and the
    command that converts it, and for what is no text.
    """
    for mark, name in _MARKED.items():
        if content.startswith(mark):
            try:
                return content.decode(name).encode(), (f"text in {name}",)
            except UnicodeError:
                raise UsageError(
                    f"{file_name}: cut short or damaged: begins as {name} and is not; {REQUIRED}"
                ) from None
    content = content.removeprefix(BYTE_ORDER_MARK)
    if name := _without_mark(content):
        raise UsageError(_converted(f"{file_name}: looks like {name} without its mark", name, file_name, packed_by))
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        is_text = not _CONTROLS.search(content) and _is_utf_8(content)
        command = _piped(r"tr -d '\0'", file_name, packed_by)
        of_text = f"a NUL byte, which text has none of; if it means nothing, `{command}` leaves it out"
        raise UsageError(f"{file_name}: line {line}: {of_text if is_text else 'a binary file'}; {REQUIRED}")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(_of_no_utf_8(content, error, f"{file_name}: line {line}", file_name, packed_by)) from None
    return content, ()


def _of_no_utf_8(content: bytes, error: UnicodeDecodeError, where: str, file_name: str, packed_by: str) -> str:
    if error.end == len(content) and error.reason == "unexpected end of data" and error.start:
        return f"{where}: ends within a letter of UTF-8: cut short; fetch it again"
    if _CONTROLS.search(content):
        return f"{where}: a binary file; {REQUIRED}"
    if _LETTERS_IN_A_ROW.search(content):
        words = f"{where}: not UTF-8; looks like an encoding of other scripts, such as {_OTHERS}"
        return _converted(words, "GBK", file_name, packed_by, ", with the name of yours,")
    if not _OF_WINDOWS.search(content):
        return _converted(f"{where}: not UTF-8; looks like Latin-1", "ISO-8859-1", file_name, packed_by)
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return _converted(f"{where}: not UTF-8; looks like Mac Roman", "MACINTOSH", file_name, packed_by)
    return _converted(f"{where}: not UTF-8; looks like Windows-1252", "WINDOWS-1252", file_name, packed_by)


def _without_mark(content: bytes) -> str:
    """UTF-16LE or UTF-16BE where every other byte of most is zero, as of letters of English; else ""."""
    begun = content[:4096]
    for name, zeros, others in (("UTF-16LE", begun[1::2], begun[::2]), ("UTF-16BE", begun[::2], begun[1::2])):
        if 0 < len(zeros) < 10 * zeros.count(0) / 9 and not others.count(0):
            return name
    return ""


def _converted(words: str, name: str, file_name: str, packed_by: str, more: str = "") -> str:
    return f"{words}; `{_piped(f'iconv -f {name} -t UTF-8', file_name, packed_by)}`{more} converts it"


def _piped(command: str, file_name: str, packed_by: str) -> str:
    """The command line that writes what `command` makes of the file beside it."""
    path = PurePath(file_name)
    inner = PurePath(path.stem) if packed_by and PurePath(path.stem).suffix else path
    suffix = ".csv" if packed_by and inner == path else inner.suffix
    old, new = shlex.quote(file_name), shlex.quote(str(path.with_name(f"{inner.stem}-utf8{suffix}")))
    return f"{_UNPACKS[packed_by]} {old} | {command} > {new}" if packed_by else f"{command} < {old} > {new}"


def _is_utf_8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
