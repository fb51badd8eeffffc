"""C as this machine's compiler makes it, once: libraries are kept in the cache folder."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.cache import cache_folder
from bench.files import private_folder, write_file

T = TypeVar("T")
COMPILE_SECONDS = 60
# What is not finite has to stay so, which -ffast-math does not promise; without traps, choices become arithmetic.
FLAGS = ("-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")


def c_library(label: str, source: str, flags: Sequence[str]) -> ctypes.CDLL | None:
    """A C source as a library, compiled if it was not yet; None where there is no compiler that can.

    label: what the name of its file starts with, which goes on with what follows from source, flags, compiler and
    processor.
    """
    words = compiler()
    if not words:
        return None
    command = [*words, *FLAGS, *flags, "-x", "c", "-"]
    try:
        # Of the compiler its version, of the processor all that it would use: a home may be shared by machines.
        target = _run([*words, "-march=native", "-x", "c", "-E", "-dM", os.devnull])
        name = f"{label}-{digest(*command, target, source)}.so"
        return kept(
            name, lambda to: _run([*command, "-o", str(to), "-lm"], source), lambda path: ctypes.CDLL(str(path))
        )
    except (OSError, subprocess.SubprocessError):
        return None


def compiler() -> list[str]:
    """The words of this machine's C compiler: CC, else cc, else the one that built Python; empty where none is."""
    for command in (os.environ.get("CC"), "cc", sysconfig.get_config_var("CC")):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    return []


def digest(*texts: str) -> str:
    """24 hexadecimal digits of all these texts in order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]


def kept(name: str, make: Callable[[Path], object], load: Callable[[Path], T]) -> T:
    """What `load` makes of the file of this name in the cache folder, which `make` writes where it is not there yet."""
    path = cache_folder() / "kernels" / name
    if _is_ours(path):
        return load(path)
    with tempfile.TemporaryDirectory() as workplace:
        made = Path(workplace, name)
        make(made)
        loaded = load(made)
        with contextlib.suppress(OSError):  # a cache that can't be written: made anew by every process
            private_folder(path.parent)
            write_file(path, made.read_bytes()).chmod(0o600)
        return loaded


def _is_ours(path: Path) -> bool:
    """Whether a file is there that nobody else can have written: it is run, and a cache may be shared."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _run(command: Sequence[str], source: str = "") -> str:
    return subprocess.run(
        command, input=source, capture_output=True, text=True, check=True, timeout=COMPILE_SECONDS
    ).stdout
