"""Several processes that train one network together, each on batches of its own, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

SEED_STEP = 7919
"""Between the seeds of two processes; a prime, so that seeds that users choose do not meet."""


PATIENCE = timedelta(days=1)
"""How long one process waits for the others, as while the first one packs people."""


@dataclass(frozen=True, slots=True)
class Crew:
    """This process is number `rank`, from 0, of `size`; the first one writes and tells."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and tells how far it is."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """What this process draws its batches by."""
        return seed + self.rank * SEED_STEP

    def share_weights(self, network: nn.Module) -> None:
        """Give every process the weights and statistics of the first."""
        if self.size > 1:
            for tensor in network.state_dict().values():
                held = tensor.cpu()  # gloo's own memory
                dist.broadcast(held, 0)
                tensor.copy_(held)

    def share_gradients(self, network: nn.Module) -> None:
        """Replace each process's gradients by the mean over all."""
        if self.size > 1:
            self._mean([p.grad for p in network.parameters() if p.grad is not None])

    def share_buffers(self, network: nn.Module) -> None:
        """Replace what each process has counted of its batches (BatchNorm) by the mean over all."""
        if self.size > 1:
            self._mean([b for b in network.buffers() if b.is_floating_point()])

    def share_figures(self, figures: dict[str, float]) -> dict[str, float]:
        """The mean over all processes of each figure, so that all decide alike by it."""
        if self.size == 1:
            return figures
        means = torch.tensor(list(figures.values()), dtype=torch.float64)
        dist.all_reduce(means)
        return dict(zip(figures, (means / self.size).tolist(), strict=True))

    def is_any(self, said: bool) -> bool:
        """Whether any of the processes says so."""
        if self.size == 1:
            return said
        votes = torch.tensor(float(said))
        dist.all_reduce(votes)
        return bool(votes > 0)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    def _mean(self, tensors: Iterable[Tensor]) -> None:
        parts = list(tensors)
        flat = torch.cat([part.flatten() for part in parts])
        held = flat.cpu()  # gloo's own memory
        dist.all_reduce(held)
        flat = held.to(flat.device) / self.size
        for part, mean in zip(parts, torch.split(flat, [part.numel() for part in parts]), strict=True):
            part.copy_(mean.view_as(part))


@contextmanager
def crew() -> Iterator[Crew]:
    """The crew that torchrun's variables tell of, connected until the end; without them this process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Crew()
        return
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Crew(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
