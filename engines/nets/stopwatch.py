"""How long a device takes for its work, and what it can do at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

import torch

from engines.backends.base import EngineError
from engines.nets.roofline import Ceilings

if TYPE_CHECKING:
    from engines.backends.base import DeviceBackend

WARM_UP, REPEATS = 10, 30
"""Runs before the first that counts, and those that count."""
MATRIX_SIDE = 8192
"""Of the square matrices multiplied: large enough that a data-centre GPU is busy for over a millisecond."""
COPY_BYTES = 1 << 30
"""Copied within the device's memory: many times its cache."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a batch takes, in milliseconds: by the device's clock, and `waited_ms` until the host has the answer."""

    median_ms: float
    p95_ms: float
    waited_ms: float


def device_words(device: str) -> str:
    """What a GPU (cuda:N) is called, and the torch that runs on it; EngineError where torch has no such GPU."""
    index = torch.device(device).index or 0
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        have = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise EngineError(f"device {device}: torch {torch.__version__} has {have} GPUs here; see run.py doctor")
    return f"{torch.cuda.get_device_name(index)}, torch {torch.__version__}"


def time_batch(backend: DeviceBackend, rows: int, repeats: int = REPEATS) -> Timing:
    """How long `backend` takes for `rows` pictures of noise that lie on its device, again and again the same."""
    _, _, height, width = backend.inputs[0].shape
    batch = torch.randn((rows, 3, height or 1, width or 1), device=backend.device)

    def work() -> None:
        backend.infer_tensors(batch)

    own = times_ms(work, backend.device, repeats)
    waited = waited_ms(work, backend.device, repeats)
    return Timing(median(own), quantiles(own, n=20)[-1], median(waited))


def times_ms(work: Callable[[], object], device: str, repeats: int = REPEATS, warm_up: int = WARM_UP) -> list[float]:
    """Milliseconds that `work` takes on `device` (cuda:N or cpu) each time, in order.

    On a GPU they are taken by its own events around each call: what the calls before have left to do is not in them,
    a wait for the host within a call is.
    """
    for _ in range(warm_up):
        work()
    if torch.device(device).type != "cuda":
        return [_host_ms(work) for _ in range(repeats)]
    with torch.cuda.device(device):
        marks = [(_mark(), _mark()) for _ in range(repeats)]
        torch.cuda.synchronize()
        for begin, end in marks:
            begin.record()
            work()
            end.record()
        torch.cuda.synchronize()
    return [begin.elapsed_time(end) for begin, end in marks]


def waited_ms(work: Callable[[], object], device: str, repeats: int = REPEATS, warm_up: int = WARM_UP) -> list[float]:
    """Milliseconds by the host's clock from each call of `work` until the device has done it."""
    is_gpu = torch.device(device).type == "cuda"

    def and_wait() -> None:
        work()
        if is_gpu:
            torch.cuda.synchronize(device)

    for _ in range(warm_up):
        and_wait()
    return [_host_ms(and_wait) for _ in range(repeats)]


def measure_ceilings(
    device: str,
    dtype: torch.dtype = torch.float16,
    matrix_side: int = MATRIX_SIDE,
    copy_bytes: int = COPY_BYTES,
    repeats: int = REPEATS,
) -> Ceilings:
    """The ceilings of `device`: the rate of a large product of matrices, the speed of a large copy in its memory."""
    product_s = median(_product_ms(device, dtype, matrix_side, repeats)) / 1e3
    copy_s = median(_copy_ms(device, copy_bytes, repeats)) / 1e3
    # A copy reads and writes: its bytes count twice.
    return Ceilings(rate=2 * matrix_side**3 / product_s, bandwidth=2 * copy_bytes / copy_s)


def _product_ms(device: str, dtype: torch.dtype, side: int, repeats: int) -> list[float]:
    """Of random numbers, as zeros would multiply faster than real data."""
    first, second = (torch.randn((side, side), device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(first)
    return times_ms(lambda: torch.mm(first, second, out=product), device, repeats)


def _copy_ms(device: str, count: int, repeats: int) -> list[float]:
    source = torch.randint(256, (count,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return times_ms(lambda: target.copy_(source), device, repeats)


def _mark() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _host_ms(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - begun)
