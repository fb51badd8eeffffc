"""Inductor turns a trace into fused kernels; where it fails, the trace runs as it is and a warning says why.

It fails, too, where its first results are not those of the trace: a run that trains something else is worse than a slow
one.
"""

from __future__ import annotations

import gc
import itertools
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
# Of the norm of what a function gives together, such as all gradients of a lane: how far what is compiled may be from
# what was traced. Kernels that fuse round otherwise: 1e-6 in float32, 1e-2 where a trace has bfloat16.
MOST_APART = {False: 1e-3, True: 0.2}
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
        self, name: str, traced: GraphModule, leaves: Sequence[Tensor], example: Any, *, pays: Callable[[], bool]
    ) -> Callable[..., Any] | None:
        """`traced` as fused kernels, tried once; None where that is not wanted, failed, or failed before.

        name: of the function that was traced. example: what it gives for `leaves`, as a tree. pays: whether its calls
        are worth the time; asked only where it matters.
        """
        if self.compiling == "never" or (self.program, name) in _FAILED:
            return None
        if self.compiling == "auto" and not pays():
            return None
        try:
            return _compiled(traced, leaves, example)
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


def _compiled(traced: GraphModule, leaves: Sequence[Tensor], example: Any) -> Callable[..., Any]:
    from torch._inductor import compile as inductor
    from torch.fx.experimental.proxy_tensor import make_fx

    _find_compiler(leaves[0].device)
    small = {torch.ops.aten.bmm.default: small_product, torch.ops.aten.mm.default: small_product}
    traced = make_fx(traced, decomposition_table=small, tracing_mode="real")(*leaves)
    torch.cuda.empty_cache()
    # Not torch.compile: reading a trace once more took 9 of 52 s of the seven packs of Table 1 at once.
    run: Any = inductor(traced, list(leaves), options=OPTIONS)
    first = run(*leaves)  # kernels are built, and may fail, at the first call
    has_bfloat16 = any(getattr(n.meta.get("val"), "dtype", None) is torch.bfloat16 for n in traced.graph.nodes)
    if (difference := apart(first, example)) > MOST_APART[has_bfloat16]:
        raise MiscompiledError(f"what it gives differs from the trace's by {difference:.2g} of its size")
    return run


class MiscompiledError(RuntimeError):
    """Kernels of Inductor compute something else than the trace that they were made of."""


def apart(actual: Sequence[Tensor], expected: Any) -> float:
    """The largest difference, in Euclidean norm, between parts of two results, relative to those that belong together.

    actual: the leaves of a tree such as `expected`, (lanes, ...) each or one number. A lane's parts within one dict
    belong together: of gradients that are 0 but for rounding nothing agrees. What `expected` has not finite is left
    out, and what are no floating-point numbers; inf where `actual` alone is not finite.
    """
    from torch.utils import _pytree as pytree

    paths_and_leaves = pytree.tree_flatten_with_path(expected)[0]
    pairs = ((_group(path), ours, theirs) for ours, (path, theirs) in zip(actual, paths_and_leaves, strict=True))
    largest = torch.zeros(())
    for _, group in itertools.groupby((one for one in pairs if one[2].is_floating_point()), key=lambda one: one[0]):
        norms = []
        for _, ours, theirs in group:
            known = theirs.isfinite()
            kept = (torch.where(known, x, 0).double().reshape(len(x) if x.dim() else 1, -1) for x in (ours, theirs))
            ours_LX, theirs_LX = kept
            difference_L = (ours_LX - theirs_LX).norm(dim=1).nan_to_num(nan=torch.inf, posinf=torch.inf)
            norms.append(torch.stack([difference_L, theirs_LX.norm(dim=1)]))
        if len({norm.shape for norm in norms}) > 1:
            norms = [norm.norm(dim=1, keepdim=True) for norm in norms]
        difference_PL, size_PL = torch.stack(norms, dim=1)
        size_L = size_PL.norm(dim=0).clamp_min(torch.finfo(torch.float32).tiny)
        largest = torch.maximum(largest, (difference_PL / size_L).max().cpu())
    return largest.item()


def _group(path: Sequence[Any]) -> str:
    """The way to a leaf, up to the first key of a dict."""
    head = itertools.takewhile(lambda key: not hasattr(key, "key"), path)
    return str([*head, *[key for key in path if hasattr(key, "key")][:1]])


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
