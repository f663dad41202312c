"""A backend that serves while a better one is built, and gives way to it between two calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import Backend, EngineError, TensorSpec
from engines.images import on_device

if TYPE_CHECKING:
    from torch import Tensor

    from engines.export import Say

THREAD = "engine build"
"""What the name of the thread begins with."""


class Opened(Protocol):
    """What a build gives: a backend, and whatever belongs to it."""

    @property
    def backend(self) -> Backend: ...


M = TypeVar("M", bound=Opened)


class BackgroundBuild(Generic[M]):
    """Runs `build` once on a thread of its own, begun at once; whoever made it closes it.

    `build` is handed a Say, which it tells what takes its time: from its first line on the build counts as slow. Lines
    are passed on to `say`, from that thread, until the build is closed; the next one then raises EngineError, which
    ends a build that is not wanted any more.
    """

    def __init__(self, build: Callable[[Say], M], say: Say) -> None:
        self._say = say
        self._closed = threading.Event()
        self._settled = threading.Event()  # done, or known to be slow
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=THREAD)
        self._made = self._executor.submit(build, self._pass_on)
        self._made.add_done_callback(lambda _: self._settled.set())

    @property
    def is_done(self) -> bool:
        """Whether `take` answers at once."""
        return self._made.done()

    def is_slow(self, patience_s: float = 0.0) -> bool:
        """Wait until the build is done (False), or has said that it takes its time, `patience_s` ago (True)."""
        self._settled.wait()
        return bool(wait([self._made], patience_s).not_done)

    def take(self) -> M:
        """What was built, once it is, for the caller to close; raises what the build raised."""
        try:
            return self._made.result()
        finally:
            self._closed.set()
            self._executor.shutdown()

    def close(self) -> None:
        """Wait for the thread to end, and close the backend that was built where nobody took it."""
        if self._closed.is_set():
            return
        self._closed.set()
        if not self._made.done():
            self._say("an engine is still being built; waiting until that can be broken off")
        self._executor.shutdown()
        if self._made.exception() is None:
            self._made.result().backend.close()

    def _pass_on(self, line: str) -> None:
        if self._closed.is_set():
            raise EngineError("the engine is not wanted any more")
        self._say(line)
        self._settled.set()


class SwappedBackend(Generic[M]):
    """Serves by `first` until `build` is done, by what was built from the next call on; it owns and closes both.

    A build that fails by EngineError or OSError, or whose backend takes or gives tensors of another form, is told once,
    and `first` goes on. It is a DeviceBackend while the one that serves is: models ask for that at each call. `say` is
    told of the change in a line that begins with `label`.
    """

    def __init__(self, first: Backend, build: BackgroundBuild[M], say: Say, label: str) -> None:
        self._serving = first
        self._build = build
        self._say = say
        self._label = label
        self._is_settled = False

    @property
    def name(self) -> str:
        """That of the backend which serves, and that another is coming."""
        return self._serving.name if self._is_settled else f"{self._serving.name} until a faster engine is built"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Those of the backend which serves."""
        return self._serving.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Those of the backend which serves."""
        return self._serving.outputs

    @property
    def device(self) -> str:
        """See `DeviceBackend`; AttributeError, as if it were not there, where the one that serves has none."""
        serving = on_device(self._serving)
        if serving is None:
            raise AttributeError(f"{self._serving.name} takes arrays only")
        return serving.device

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """See `Backend`."""
        self._swap_if_built()
        return self._serving.infer(batch)

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]:
        """See `DeviceBackend`; a batch made for one that has just given way to one elsewhere goes there and back."""
        self._swap_if_built()
        serving = on_device(self._serving)
        if serving is not None and serving.device == str(batch.device):
            return serving.infer_tensors(batch)
        import torch

        outputs = self._serving.infer(batch.contiguous().cpu().numpy())
        return tuple(torch.from_numpy(output).to(batch.device) for output in outputs)

    def close(self) -> None:
        """Close what serves, and what is being built once that has ended."""
        self._serving.close()
        self._build.close()

    def _swap_if_built(self) -> None:
        if self._is_settled or not self._build.is_done:
            return
        self._is_settled = True
        before = self._serving
        try:
            built = self._build.take().backend
            with ExitStack() as undo:
                undo.callback(built.close)
                _check_fits(built, before)
                undo.pop_all()
        except (EngineError, OSError) as error:
            self._say(f"{self._label}: stays on {before.name}: {error}")
            return
        self._serving = built
        before.close()
        self._say(f"{self._label}: from now on {built.name}, no longer {before.name}")


def _check_fits(built: Backend, before: Backend) -> None:
    """Raise EngineError unless `built` can take the place of `before` under a model that knows that one's tensors."""
    for what, got, wanted in (("inputs", built.inputs, before.inputs), ("outputs", built.outputs, before.outputs)):
        if len(got) != len(wanted) or not all(map(_fits, got, wanted)):
            raise EngineError(f"the {what} of {built.name} are {_words(got)}, wanted {_words(wanted)}; build it again")


def _fits(got: TensorSpec, wanted: TensorSpec) -> bool:
    """Whether two tensors may have one shape; the number of rows, and sides that are free, fit any."""
    return len(got.shape) == len(wanted.shape) and all(
        one == other or None in (one, other) for one, other in zip(got.shape[1:], wanted.shape[1:], strict=True)
    )


def _words(tensors: tuple[TensorSpec, ...]) -> str:
    return " and ".join("x".join("?" if side is None else str(side) for side in tensor.shape) for tensor in tensors)
