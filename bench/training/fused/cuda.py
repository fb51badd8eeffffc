"""The C program on a GPU: a block of threads for each lane, compiled at run time by NVRTC.

NVRTC and its bindings are packages that torch's builds for CUDA require themselves; no toolkit is needed. What was
compiled is kept in the cache folder, as libraries of a processor are (bench.native).
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
import subprocess
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.native import digest, kept
from bench.training.fused.program import Macros, source
from bench.training.fused.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

MAX_THREADS = 1024  # of a block
WARP = 32
SECONDS = 20.0  # for an answer of the driver's tool
FIXED_BYTES = 24 * 2**10  # of a lane's shared memory, beside what grows with the rows of tokens
CHUNKS = 16  # parts of the rows whose gradients of weights are summed side by side
OPTIONS = ("--std=c++17", "--extra-device-vectorization")


class CudaError(RuntimeError):
    """A call of the driver or of NVRTC failed; the message says which, and why."""


def is_installed() -> bool:
    """Whether the bindings of NVRTC and of the driver are installed."""
    try:
        return importlib.util.find_spec("cuda.bindings.nvrtc") is not None
    except ModuleNotFoundError:
        return False


def gpu_bytes() -> int:
    """Memory of the GPU that this process may use, 0 where the kernel can't be had there or it isn't known.

    A worker says so without torch, which takes seconds to import.
    """
    return memory_bytes() if is_installed() else 0


def memory_bytes() -> int:
    """Memory of the GPU of this process, by the driver's tool, which knows no parts of one (MIG); 0: unknown."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    command += ["-i", visible] if visible else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
        sizes = [int(line) for line in done.stdout.splitlines()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0
    return 0 if "MIG" in visible else min(sizes, default=0) * 2**20


def of_device(macros: Macros, *, shared_bytes: int) -> Macros:
    """Macros of a block: as many sequences at a time as its threads and its shared memory hold, in equal passes."""
    batch, num_tokens, depth = (int(macros[name]) for name in ("BATCH", "NUM_TOKENS", "DEPTH"))
    width, channels = int(macros["WIDTH"]), int(macros["CHANNELS"])
    numbers = 2 * depth * (channels + 1) + 3 * channels + 3 * width  # of a row, as struct Lane has them
    row_bytes = numbers * int(macros["PRECISION"]) // 8
    most = min(MAX_THREADS // num_tokens, (shared_bytes - FIXED_BYTES) // (row_bytes * num_tokens), batch)
    slots = -(-batch // -(-batch // max(1, most)))
    num_threads = -(-slots * num_tokens // WARP) * WARP
    return {"SLOTS": slots, "CHUNKS": CHUNKS, "NUM_THREADS": num_threads, "MAKES_DATA_INSIDE": 1}


class Kernel:
    """The program for some macros, loaded on the current device. Raises CudaError."""

    def __init__(self, macros: Macros) -> None:
        driver: Any = importlib.import_module("cuda.bindings.driver")
        num_bytes = torch.zeros(1, dtype=torch.int64, device="cuda")  # first, as it makes the context
        properties = torch.cuda.get_device_properties()
        macros = of_device(macros, shared_bytes=properties.shared_memory_per_block_optin) | macros
        major, minor = torch.cuda.get_device_capability()
        self._driver, self._num_threads = driver, int(macros["NUM_THREADS"])
        self._module = _of(driver.cuModuleLoadData(cubin(macros, f"sm_{major}{minor}")))
        self._train = _of(driver.cuModuleGetFunction(self._module, b"train"))
        measure = _of(driver.cuModuleGetFunction(self._module, b"measure"))
        self._launch(measure, 1, 1, 0, ctypes.c_void_p(num_bytes.data_ptr()))
        self._shared_bytes = int(num_bytes.item())
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _of(driver.cuFuncSetAttribute(self._train, attribute, self._shared_bytes))

    def train(self, settings: Settings) -> None:
        """The steps of all lanes, on torch's current stream."""
        self._launch(self._train, settings.num_lanes, self._num_threads, self._shared_bytes, settings)

    def _launch(self, function: Any, num_blocks: int, num_threads: int, shared_bytes: int, argument: Any) -> None:
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        stream = torch.cuda.current_stream().cuda_stream
        _of(
            self._driver.cuLaunchKernel(
                function, num_blocks, 1, 1, num_threads, 1, 1, shared_bytes, stream, ctypes.addressof(pointers), 0
            )
        )


@functools.cache
def kernel(definitions: tuple[tuple[str, int | float | str], ...]) -> Kernel:
    """The kernel for these macros, loaded once a process."""
    return Kernel(dict(definitions))


def cubin(macros: Macros, architecture: str) -> bytes:
    """The program for these macros as machine code, compiled if it was not yet. Raises CudaError with NVRTC's log."""
    nvrtc: Any = importlib.import_module("cuda.bindings.nvrtc")
    words = (f"--gpu-architecture={architecture}", *OPTIONS, *(f"-D{name}={value}" for name, value in macros.items()))
    version = ".".join(map(str, _of(nvrtc.nvrtcVersion())))
    name = f"fused-{digest(version, *words, source())}.cubin"

    def read(path: Path) -> bytes:
        return path.read_bytes()

    return kept(name, lambda to: to.write_bytes(_compiled(words, nvrtc)), read)


def _compiled(words: tuple[str, ...], nvrtc: Any) -> bytes:
    program = _of(nvrtc.nvrtcCreateProgram(source().encode(), b"fused.cu", 0, None, None))
    status, *_ = nvrtc.nvrtcCompileProgram(program, len(words), [word.encode() for word in words])
    if int(status):
        log = b" " * _of(nvrtc.nvrtcGetProgramLogSize(program))
        _of(nvrtc.nvrtcGetProgramLog(program, log))
        raise CudaError(f"NVRTC: {log.decode(errors='replace').strip()}")
    code = b" " * _of(nvrtc.nvrtcGetCUBINSize(program))
    _of(nvrtc.nvrtcGetCUBIN(program, code))
    _of(nvrtc.nvrtcDestroyProgram(program))
    return code


def _of(answer: tuple[Any, ...]) -> Any:
    """What a call gave beside its status; several values as a tuple. Raises CudaError where the status is an error."""
    status, *values = answer
    if int(status):
        raise CudaError(f"{type(status).__name__}: {getattr(status, 'name', status)}")
    return values[0] if len(values) == 1 else tuple(values)
