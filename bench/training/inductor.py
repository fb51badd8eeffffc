"""Inductor turns a trace into fused kernels; where it fails, the trace runs as it is and a warning says why."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from analysis.text import escape_controls
from bench.lazy import torch
from bench.methods.fast.tiny import is_triton_installed

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

Compiling = Literal["auto", "never", "always"]

# Matrix products of which two of the three sizes are this small leave a GPU's matrix kernels almost empty (60% of a
# step of the paper's model, width 4, on an H100); as a product and a sum, Inductor fuses them with their neighbours.
SMALL_SIZE = 32
LONGEST_CAUSE = 300  # letters
# By default Inductor takes the fastest of several kernels as it times them, which add up in orders of their own: a
# resume, or the same pack again, then parted by rounding (9e-8 of a loss on an H200).
OPTIONS = {"deterministic": True}
# What Inductor failed at in this process, (program, function): parts of a pack that was split, and the packs that
# follow, go on without waiting minutes for the same failure.
_FAILED: set[tuple[str, str]] = set()


@dataclass(frozen=True, kw_only=True)
class Uncompiled:
    """A function of a program, as a person knows it, that goes on as it was traced, and why; as text one line.

    by: what failed at it.
    """

    program: str
    function: str
    cause: str
    is_memory: bool  # whether it was memory that ran out
    by: str = "Inductor"

    def __str__(self) -> str:
        how = "no memory was left to compile" if self.is_memory else f"{self.by} failed at"
        return f"{self.program}: {how} {self.function}, which goes on uncompiled ({self.cause})"


@dataclass(frozen=True, kw_only=True)
class Inductor:
    """When the functions of one program go through Inductor, and what it failed at.

    compiling: auto (on a GPU, where the calls would take long enough to pay for it), never, or always, on a CPU too.
    program: what is trained, to the letter; label: the same as a person knows it.
    """

    compiling: Compiling
    program: str = ""
    label: str = ""
    uncompiled: list[Uncompiled] = field(default_factory=list)

    def compiled(
        self, name: str, traced: GraphModule, leaves: Sequence[Tensor], *, pays: Callable[[], bool]
    ) -> Callable[..., Any] | None:
        """`traced` as fused kernels, tried once; None where that is not wanted, failed, or failed before.

        name: of the function that was traced. pays: whether its calls are worth the time; asked only where it matters.
        """
        if self.compiling == "never" or (self.program, name) in _FAILED:
            return None
        if self.compiling == "auto" and not pays():
            return None
        try:
            return _compiled(traced, leaves)
        # Inductor, Triton and C compilers raise errors of their own, assertions and lookups that fail, no kind of which
        # is promised; whichever it is, the trace runs as it was, and the cause is said in terminal and manifest.
        except Exception as error:  # noqa: BLE001
            is_memory, why = is_out_of_memory(error), cause(error)
        gc.collect()  # outside `except`, whose traceback holds tensors
        torch.cuda.empty_cache()
        if not is_memory:  # fewer lanes may find the room
            _FAILED.add((self.program, name))
        self.uncompiled.append(Uncompiled(program=self.label, function=name, cause=why, is_memory=is_memory))
        return None

    def gave_up(self, name: str, *, by: str, error: Exception) -> None:
        """Record that something else than Inductor failed at the function of this name."""
        failed = Uncompiled(program=self.label, function=name, cause=cause(error), is_memory=False, by=by)
        self.uncompiled.append(failed)


def _compiled(traced: GraphModule, leaves: Sequence[Tensor]) -> Callable[..., Any]:
    from torch._inductor import compile as inductor
    from torch.fx.experimental.proxy_tensor import make_fx

    _find_compiler(leaves[0].device)
    small = {torch.ops.aten.bmm.default: small_product, torch.ops.aten.mm.default: small_product}
    traced = make_fx(traced, decomposition_table=small, tracing_mode="real")(*leaves)
    torch.cuda.empty_cache()
    # Not torch.compile: reading a trace once more took 9 of 52 s of the seven packs of Table 1 at once.
    run: Any = inductor(traced, list(leaves), options=OPTIONS)
    run(*leaves)  # kernels are built, and may fail, at the first call
    return run


def _find_compiler(device: torch.device) -> None:
    """Raises at once where Inductor would after minutes, about to write its first kernel."""
    if device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
    elif not is_triton_installed():
        raise ModuleNotFoundError("Triton is not installed")


def small_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, (..., M, K) by (..., K, N), as a sum of products where two of M, K and N are small."""
    if sorted((a.shape[-2], a.shape[-1], b.shape[-1]))[1] > SMALL_SIZE:
        return NotImplemented
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory of a device ran out; Inductor gives the error that it met as text in its own."""
    return isinstance(error, torch.OutOfMemoryError) or "OutOfMemoryError" in str(error)


def cause(error: Exception) -> str:
    """What was raised, in one line that can't steer a terminal and names no folder."""
    first, *_ = str(error).splitlines() or [""]
    named = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return escape_controls(re.sub(r"(?:/[^\s/'\":,;]+)+/", "", named))[:LONGEST_CAUSE]
