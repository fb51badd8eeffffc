"""Fast paths of attention against the dense reference, forward and backward: `python -m tests.perf.attention_paths`.

Both run as training runs them, traced under vmap over lanes and, on CUDA, captured; they alternate, and each time is
the best of all rounds, in ms. `chosen` is the path that a method takes by itself at this size; `memory` is the peak of
one untimed call beside its inputs (CUDA); `difference` is the largest of any gradient, by the largest gradient;
`repeats` says whether two calls gave the same bits.
"""

import argparse
import itertools
import time
from collections.abc import Callable

import torch

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Method
from bench.methods.fast.fused import heads_of, linear_attention, softmax_attention
from bench.methods.fast.tiny import takes
from bench.methods.kernel import KernelAttention
from bench.methods.mask import Mask, MaskKind
from bench.training.compile import NUM_WARMUP_CALLS, compile_for, new_pool, repeatable
from bench.training.inductor import Inductor

NAMES = ("softmax", "window_softmax", "relu_kernel", "elu_kernel")
KINDS: tuple[MaskKind, ...] = ("full", "causal", "padded")
COLUMNS = "{:<15} {:<6} {:<8} {:>5}  {:>9} {:>9} {:>6}  {:<6}  {:>9} {:>9}  {:>10}  {:<7}"


def chosen_path(method: Method, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Mask) -> str:
    """That a method takes by itself."""
    return method.fast_path(heads_of(q, k), method.restrict(mask).kind, has_tiny=takes(q, k, v))


def mask_of(kind: MaskKind, q: torch.Tensor, k: torch.Tensor) -> Mask:
    """Of padded examples the last has two thirds of the keys, the first all."""
    if kind == "padded":
        length_B1 = torch.linspace(1, 2 / 3, len(k), device=k.device)[:, None] * k.shape[-2]
        return Mask.padded(torch.arange(k.shape[-2], device=k.device) < length_B1, num_queries=q.shape[-2])
    return Mask.causal(k.shape[-2], k.device) if kind == "causal" else Mask.full(q.shape[-2], k.shape[-2], k.device)


def fast(method: Method, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Mask) -> torch.Tensor:
    """The fast path, also where a method would not take it unless that is the tiny one."""
    if chosen_path(method, q, k, v, mask) == "tiny":
        return method.attend(q, k, v, mask, {})
    if isinstance(method, KernelAttention):
        return linear_attention(method.features(q), method.features(k), v, mask, eps=method.eps)
    return softmax_attention(q, k, v, mask)


def dense(method: Method, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Mask) -> torch.Tensor:
    return Method.attend(method, q, k, v, mask, {})


def gradients(attend: Callable, method: Method, kind: MaskKind, mixed: bool) -> Callable:
    """Of (output * w).sum() of every lane, as a function of stacked q, k, v and w."""

    def objective(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        mask = mask_of(kind, q, k)
        with torch.autocast(q.device.type, dtype=torch.bfloat16, enabled=mixed, cache_enabled=False):
            return (attend(method, q, k, v, method.restrict(mask)).float() * w).sum()

    return torch.func.vmap(torch.func.grad(objective, argnums=(0, 1, 2)))


class Runner:
    """One traced function of fixed inputs."""

    def __init__(self, function: Callable, inputs: tuple[torch.Tensor, ...], num_calls: int) -> None:
        self.device = inputs[0].device
        self.compiled, example = compile_for(
            self.device, function, inputs, num_calls=num_calls, inductor=Inductor(compiling="auto")
        )
        self.out = [torch.zeros_like(grad) for grad in example]
        del example
        self.memory = self._peak(inputs)

        def keep() -> None:
            for to, grad in zip(self.out, self.compiled(*inputs), strict=True):
                to.copy_(grad)

        self.call = repeatable(self.device, keep, lambda: self.compiled(*inputs), new_pool(self.device))
        self.best_s = float("inf")

    def _peak(self, inputs: tuple[torch.Tensor, ...]) -> str:
        if self.device.type != "cuda":
            return "-"
        self.compiled(*inputs)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        self.compiled(*inputs)
        return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f} MiB"

    def time(self) -> float:
        """Seconds of one call."""
        if self.device.type != "cuda":
            started = time.perf_counter()
            self.call()
            seconds = time.perf_counter() - started
        else:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            self.call()
            end.record()
            end.synchronize()
            seconds = start.elapsed_time(end) / 1e3
        self.best_s = min(self.best_s, seconds)
        return seconds

    def repeats(self) -> bool:
        self.call()
        first = [grad.clone() for grad in self.out]
        self.call()
        return all(torch.equal(a, b) for a, b in zip(first, self.out, strict=True))


def row(args: argparse.Namespace, name: str, kind: MaskKind, dtype: torch.dtype, num_keys: int) -> str:
    method = load_class(METHODS[name])()
    generator = torch.Generator().manual_seed(0)
    shape = (args.lanes, args.batch, args.heads, num_keys, args.width)
    q, k, v, w = (torch.randn(shape, generator=generator).to(args.device) for _ in range(4))
    inputs = (*(x.to(dtype) for x in (q / args.width**0.5, k, v)), w)
    num_calls = 10**9 if args.inductor else 1
    runners = [Runner(gradients(f, method, kind, dtype == torch.bfloat16), inputs, num_calls) for f in (dense, fast)]
    seconds = 0.0
    for rounds in itertools.count():
        if rounds > NUM_WARMUP_CALLS and seconds > args.seconds:
            break
        seconds += sum(runner.time() for runner in runners)
    slow, quick = runners
    largest = max(grad.float().abs().max().item() for grad in slow.out)
    differences = [(a.float() - b.float()).abs().max().item() for a, b in zip(slow.out, quick.out, strict=True)]
    mask = mask_of(kind, *(x[0] for x in inputs[:2]))
    return COLUMNS.format(
        name,
        kind,
        str(dtype).removeprefix("torch."),
        num_keys,
        f"{slow.best_s * 1e3:.3f}",
        f"{quick.best_s * 1e3:.3f}",
        f"{slow.best_s / quick.best_s:.2f}",
        chosen_path(method, *(x[0] for x in inputs[:3]), mask),
        slow.memory,
        quick.memory,
        f"{max(differences) / largest:.1e}",
        "yes" if quick.repeats() else "no",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--methods", nargs="+", default=["softmax", "window_softmax", "relu_kernel"], choices=NAMES)
    parser.add_argument("--kinds", nargs="+", default=["causal"], choices=KINDS)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--keys", nargs="+", type=int, default=[64, 256, 1024])
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.3, help="of timing for each row")
    parser.add_argument("--threads", type=int, default=1, help="on CPU")
    parser.add_argument("--inductor", action="store_true", help="CUDA: both through Inductor, some seconds more each")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.lanes} lanes, batch {args.batch}, {args.heads} heads of width {args.width}, {args.device}")
    titles = "method kind dtype N dense fast ratio chosen memory memory difference repeats"
    print(COLUMNS.format(*titles.split()))
    for dtype, kind, name, num_keys in itertools.product(args.dtypes, args.kinds, args.methods, args.keys):
        print(row(args, name, kind, getattr(torch, dtype), num_keys), flush=True)


if __name__ == "__main__":
    main()
