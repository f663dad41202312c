"""A network on its device, run in the batch sizes of the buckets: on a GPU by CUDA graphs, on the CPU as it is.

A network of some hundred small layers keeps the host busier with launching them than the GPU with computing them. A
graph launches all of them at once, but always reads and writes the same places: so each bucket has a place that batches
are copied into, and what comes out is copied before the next batch can overwrite it. The CPU does the same but for the
graph.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from engines.buckets import BUCKETS, buckets_for
from engines.nets.fold import fold_norms
from engines.nets.graphs import Graphs

Run = Callable[[], Tensor]
"""The network on what lies in a bucket's place; the next run of any bucket may overwrite what it gives."""


class Bucketed:
    """A network in eval mode for pictures of one `size` (height, width), its weights in `dtype` on `device`.

    The network itself is left as it is. A bucket is prepared when the first batch falls into it. Raises torch's
    RuntimeError, here or when called, where the network does not take such pictures, or the device lacks the memory.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> None:
        folded = fold_norms(network, torch.zeros(1, 3, *size))
        # The order in memory that tensor cores read, and that is no slower on a CPU.
        self._network = folded.to(device, dtype).to(memory_format=torch.channels_last)
        self._size, self._device, self._dtype = size, device, dtype
        self._graphs = Graphs(device) if device.type == "cuda" else None
        self._slots: dict[int, tuple[Tensor, Run]] = {}

    def __call__(self, batch: Tensor) -> Tensor:
        """The output (N, ...) float32 of a batch (N, 3, H, W) float32 on the device, in memory of its own.

        On a GPU it is under way on torch's current stream when this returns.
        """
        pieces = zip(buckets_for(len(batch)), torch.split(batch, BUCKETS[-1]), strict=True)
        with torch.no_grad(), self._graphs.in_turn() if self._graphs else nullcontext():
            done = [self._run(rows, piece) for rows, piece in pieces]
            return done[0] if len(done) == 1 else torch.cat(done)

    def _run(self, rows: int, piece: Tensor) -> Tensor:
        """A copy of the output of a piece of `rows` rows at most; those missing are computed and left out."""
        if rows not in self._slots:
            self._slots[rows] = self._prepare(rows)
        place, run = self._slots[rows]
        place[: len(piece)].copy_(piece)  # what an earlier batch left below is no row's concern
        return run()[: len(piece)].to(torch.float32, memory_format=torch.contiguous_format, copy=True)

    def _prepare(self, rows: int) -> tuple[Tensor, Run]:
        """The place of a bucket, and the run on it."""
        place = torch.zeros((rows, 3, *self._size), dtype=self._dtype, device=self._device)
        place = place.contiguous(memory_format=torch.channels_last)

        def run() -> Tensor:
            output: Tensor = self._network(place)
            return output

        return place, run if self._graphs is None else self._graphs.capture(lambda _: run())
