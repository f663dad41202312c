"""CUDA graphs: what a network does on a GPU, launched as a whole instead of layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final, TypeVar

import torch

T = TypeVar("T")

WARM_UP: Final = 3
"""Runs before a capture, in which libraries choose kernels and take memory; so many as torch's manual says."""

_CAPTURE: Final = Lock()
"""torch captures one graph at a time in a process, and a model may be opened on a thread while another runs."""


class Graphs:
    """The graphs of one network on one GPU, in one memory: they run in turn, and outputs are copied at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._last = torch.cuda.Event()  # type: ignore[no-untyped-call]  # the end of the batch before

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Use the device, and begin behind the batch before, whatever stream that was on; nobody on the host waits."""
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self._last)
            yield
            self._last.record(stream)

    @contextmanager
    def beside(self) -> Iterator[int]:
        """A stream that is not the default one, by the number CUDA knows it by, in line with the current stream.

        TensorRT waits for the whole device where it is given the default stream.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield self._stream.cuda_stream
        torch.cuda.current_stream().wait_stream(self._stream)

    def capture(self, run: Callable[[int], T]) -> Callable[[], T]:
        """The graph of `run`, which reads and writes where `run` did when it was captured, and gives what that gave.

        `run` is handed the stream to work on, which is torch's current one then too. What is fp32 is computed in fp32,
        not in TF32: others are judged by it.
        """
        graph = torch.cuda.CUDAGraph()
        with _CAPTURE, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            with self.beside() as stream:
                for _ in range(WARM_UP):
                    run(stream)
            # thread_local: what other threads do on the device meanwhile is none of this capture's business.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                given = run(self._stream.cuda_stream)
        torch.cuda.current_stream().wait_stream(self._stream)

        def replay() -> T:
            graph.replay()
            return given

        return replay
