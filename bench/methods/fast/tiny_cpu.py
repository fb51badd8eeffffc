"""The kernels of tiny.py on a processor: tiny_cpu.c, compiled by the C compiler of this machine, where it has one.

Compiling takes about half a second, once for a compiler, a processor and a width: libraries are kept in the cache
folder under a name that follows from all of these and the source.
Shapes: B batch, H heads, Q queries, K keys, W width of all three, M masks.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cache import cache_folder
from bench.files import private_folder, write_file
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

MAX_KEYS = 32  # and queries: the kernels keep a block's rows on the stack
COMPILE_SECONDS = 60
# What is not finite has to stay so, which -ffast-math does not promise; without traps, choices become arithmetic.
FLAGS = ("-O2", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")


class Settings(ctypes.Structure):
    """The struct of this name in the source."""

    _fields_ = (
        ("num_sequences", ctypes.c_int64),
        ("sequences_per_mask", ctypes.c_int64),
        ("num_queries", ctypes.c_int64),
        ("num_keys", ctypes.c_int64),
        ("allowed_MQK", ctypes.c_void_p),
        ("is_softmax", ctypes.c_int64),
        ("eps", ctypes.c_float),
    )


def is_compiled() -> bool:
    """Whether this machine has the kernels; the first time that it is asked, it compiles them."""
    return library(4) is not None


def forward(
    q_BHQW: Tensor, k_BHKW: Tensor, v_BHKW: Tensor, allowed_MQK: Tensor | None, is_softmax: bool, eps: float
) -> Tensor:
    """P V, (B, H, Q, W). All are contiguous and float32; as many sequences have each mask."""
    o_BHQW = torch.empty_like(q_BHQW)
    _call("forward", (q_BHQW, k_BHKW, v_BHKW, o_BHQW), q_BHQW, k_BHKW, allowed_MQK, is_softmax, eps)
    return o_BHQW


def backward(
    do_BHQW: Tensor,
    qkv: Sequence[Tensor],
    allowed_MQK: Tensor | None,
    is_softmax: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v from that of the output, as `forward` takes and gives them."""
    dq, dk, dv = (torch.empty_like(x) for x in qkv)
    _call("backward", (do_BHQW, *qkv, dq, dk, dv), qkv[0], qkv[1], allowed_MQK, is_softmax, eps)
    return dq, dk, dv


def _call(
    name: str,
    tensors: Sequence[Tensor],
    q_BHQW: Tensor,
    k_BHKW: Tensor,
    allowed_MQK: Tensor | None,
    is_softmax: bool,
    eps: float,
) -> None:
    kernels = library(q_BHQW.shape[-1])
    assert kernels is not None, "no C compiler"
    num_sequences, num_queries, num_keys = q_BHQW.shape[0] * q_BHQW.shape[1], q_BHQW.shape[2], k_BHKW.shape[2]
    assert max(num_queries, num_keys) <= MAX_KEYS
    allowed = None if allowed_MQK is None else allowed_MQK.to(torch.uint8).contiguous()
    settings = Settings(
        num_sequences=num_sequences,
        sequences_per_mask=num_sequences if allowed is None else num_sequences // allowed.shape[0],
        num_queries=num_queries,
        num_keys=num_keys,
        allowed_MQK=None if allowed is None else allowed.data_ptr(),
        is_softmax=is_softmax,
        eps=eps,
    )
    assert all(x.is_contiguous() and x.dtype == torch.float32 for x in tensors)
    getattr(kernels, name)(ctypes.byref(settings), *(ctypes.c_void_p(x.data_ptr()) for x in tensors))


@functools.cache
def library(width: int) -> ctypes.CDLL | None:
    """The kernels for one width, compiled if they were not yet; None where there is no compiler that can."""
    words = compiler()
    if not words:
        return None
    source = Path(__file__).with_suffix(".c")
    command = [*words, *FLAGS, f"-DWIDTH={width}", f"-DMAX_KEYS={MAX_KEYS}"]
    try:
        # Of the compiler its version, of the processor all that it would use: a home may be shared by machines.
        target = _run([*words, "-march=native", "-x", "c", "-E", "-dM", os.devnull])
        content = "\0".join((*command, target, source.read_text(encoding="utf-8")))
        name = f"tiny-{hashlib.sha256(content.encode()).hexdigest()[:24]}.so"
        return _loaded([*command, str(source), "-lm"], name)
    except (OSError, subprocess.SubprocessError):
        return None


def compiler() -> list[str]:
    """The words of this machine's C compiler: CC, else cc, else the one that built Python; empty where none is."""
    for command in (os.environ.get("CC"), "cc", sysconfig.get_config_var("CC")):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    return []


def _loaded(command: Sequence[str], name: str) -> ctypes.CDLL:
    """The library of this name in the cache folder, made by the command where it is not there yet."""
    kept = cache_folder() / "kernels" / name
    if _is_ours(kept):
        return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory() as workplace:
        made = Path(workplace, name)
        _run([*command, "-o", str(made)])
        library = ctypes.CDLL(str(made))
        with contextlib.suppress(OSError):  # a cache that can't be written: made anew by every process
            private_folder(kept.parent)
            write_file(kept, made.read_bytes()).chmod(0o600)
        return library


def _is_ours(path: Path) -> bool:
    """Whether a file is there that nobody else can have written: it is run, and a cache may be shared."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=COMPILE_SECONDS).stdout
