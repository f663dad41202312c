"""The loop that trains any lesson: schedule, averaged weights, checkpoints to go on from, early stop, figures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from engines.training.checkpoint import BEST, CHECKPOINT, read_state, save_whole
from engines.training.crew import Crew
from engines.training.stop import stopped_by_signals

Figures = Mapping[str, float]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Lesson(Protocol):
    """What is to be learnt: a network, its batches and its marks.

    `loss(network, step)` is the loss of the batch of a step, and figures to be logged; all its chance comes from the
    seed and the step, so that a step that is done again is the same. `validate(network, step)` marks the network;
    `score` among its marks is the higher the better, and comparable with others of the same `grade(step)`, or with all
    where `compares`. `sheet` is a picture of what the network gives, or None.
    """

    @property
    def network(self) -> nn.Module: ...
    @property
    def compares(self) -> bool: ...
    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]: ...
    def validate(self, network: nn.Module, step: int) -> dict[str, float]: ...
    def grade(self, step: int) -> int: ...
    def sheet(self, network: nn.Module, step: int) -> NDArray[np.uint8] | None: ...


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How long and how fast is learnt.

    `rate` is the highest learning rate of AdamW, reached after `warm_up` steps and left along a cosine that ends at
    `last_rate` of it. `average` is how much of the averaged weights (EMA) is kept in a step. After `patience`
    validations of the last grade without a better score it ends early.
    """

    steps: int = 10_000
    rate: float = 2e-3
    last_rate: float = 0.01
    warm_up: int = 300
    weight_decay: float = 0.02
    average: float = 0.998
    clip: float = 5.0
    precision: str = "auto"
    validate_every: int = 500
    patience: int = 10
    checkpoint_s: float = 60.0

    def __post_init__(self) -> None:
        if min(self.steps, self.validate_every, self.patience) < 1 or self.warm_up < 0:
            raise ValueError(f"steps, validate_every and patience must be 1 or more and warm_up 0 or more, got {self}")
        if self.precision not in ("auto", *_DTYPES):
            raise ValueError(f"precision must be auto, {' or '.join(_DTYPES)}, got {self.precision!r}")
        if not (self.rate > 0 and 0 <= self.average < 1):
            raise ValueError(f"rate must be above 0 and average in [0, 1), got {self.rate} and {self.average}")


@dataclass(slots=True)
class Progress:
    """How far it is: steps done, seconds taken, and the best validation of the present grade."""

    step: int = 0
    seconds: float = 0.0
    grade: int = 0
    best: float = -math.inf
    best_step: int = 0
    worse: int = 0
    marks: dict[str, float] = field(default_factory=dict)


ALONE = Crew()

Tell = Callable[[Progress, Figures], None]
"""Is told of each step; and of each validation, whose figures begin with `val/`."""


def rate_at(step: int, options: LoopOptions) -> float:
    """The learning rate of a step."""
    if step < options.warm_up:
        return options.rate * (step + 1) / options.warm_up
    done = (step - options.warm_up) / max(1, options.steps - options.warm_up)
    low = options.rate * options.last_rate
    return low + (options.rate - low) * (1 + math.cos(math.pi * min(done, 1))) / 2


class Loop:
    """One training in a folder, begun or gone on with where its checkpoint is.

    `origin` stands for what it is learnt from: a checkpoint of another origin is refused.
    """

    def __init__(
        self,
        lesson: Lesson,
        options: LoopOptions,
        folder: Path,
        device: str = "cpu",
        crew: Crew = ALONE,
        origin: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._origin = origin
        self.progress = Progress()
        self._crew = crew
        self._lesson, self._options, self._folder = lesson, options, folder
        self._device = torch.device(device)
        self._network = lesson.network.to(self._device).to(memory_format=torch.channels_last)
        crew.share_weights(self._network)  # each may have begun with chance of its own
        self._average = AveragedModel(self._network, multi_avg_fn=self._mix, use_buffers=True)
        self._optimizer = torch.optim.AdamW(_groups(self._network, options.weight_decay), lr=options.rate, fused=True)
        self._dtype = _dtype(options.precision, self._device)
        # Small gradients vanish in fp16 unless they are scaled; with the other precisions it passes all through.
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._dtype is torch.float16)
        self._stop = False
        state = read_state(folder, self._device)
        if state is not None:
            self._load(state)

    @property
    def averaged(self) -> nn.Module:
        """The network of averaged weights."""
        module: nn.Module = self._average.get_submodule("module")
        return module

    def run(self, tell: Tell) -> Progress:
        """Train to the end, to an early stop, or to a signal, after which the checkpoint says where to go on."""
        saved, progress = time.monotonic(), self.progress
        with stopped_by_signals(self._halt):
            while not (self.is_done or self._crew.is_any(self._stop)):
                begun = time.monotonic()
                figures = self._step()
                self._take(begun)
                tell(progress, figures)
                is_due = time.monotonic() - saved > self._options.checkpoint_s
                if progress.step % self._options.validate_every == 0 or progress.step == self._options.steps:
                    begun = time.monotonic()
                    figures = self._validate()
                    self._take(begun)
                    tell(progress, figures)
                    is_due = True
                if is_due:
                    self._save()
                    saved = time.monotonic()
            self._save()
        return progress

    @property
    def is_done(self) -> bool:
        """Whether there is no step left to be taken."""
        return self.progress.step >= self._options.steps or self._is_flat()

    def _is_flat(self) -> bool:
        is_last = self.progress.grade == self._lesson.grade(self._options.steps - 1)
        return is_last and self.progress.worse >= self._options.patience

    def _take(self, begun: float) -> None:
        self.progress.seconds += time.monotonic() - begun

    def _halt(self) -> None:
        self._stop = True

    def _step(self) -> dict[str, float]:
        progress, options = self.progress, self._options
        for group in self._optimizer.param_groups:
            group["lr"] = rate_at(progress.step, options)
        self._network.train()
        before = [buffer.clone() for buffer in self._network.buffers()]  # the statistics of normalisations
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not torch.float32):
            loss, figures = self._lesson.loss(self._network, progress.step)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._crew.share_gradients(self._network)
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), options.clip)
        if bool(torch.isfinite(norm)):
            self._scaler.step(self._optimizer)
        else:  # a batch that overflows teaches nothing
            with torch.no_grad():
                for buffer, kept in zip(self._network.buffers(), before, strict=True):
                    buffer.copy_(kept)
        self._scaler.update()
        self._average.update_parameters(self._network)
        progress.step += 1
        return {"loss": float(loss.detach()), "rate": rate_at(progress.step - 1, options), **figures}

    def _mix(self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        """Move the averages toward the weights: quickly at first, when they are still those of the beginning."""
        kept = min(self._options.average, (1 + int(count)) / (10 + int(count)))
        for mean, now in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(now.to(mean.dtype), 1 - kept)
            else:
                mean.copy_(now)

    def _validate(self) -> dict[str, float]:
        progress, network = self.progress, self.averaged
        for module in (self._network, network):
            self._crew.share_buffers(module)  # the weights are alike in all processes
        network.eval()
        with torch.inference_mode():
            marks = self._crew.share_figures(self._lesson.validate(network, progress.step - 1))
            sheet = self._lesson.sheet(network, progress.step - 1)
        grade = self._lesson.grade(progress.step - 1)
        if grade != progress.grade:
            progress.grade, progress.worse = grade, 0
            progress.best = progress.best if self._lesson.compares else -math.inf
        progress.marks = marks
        if marks["score"] > progress.best:
            progress.best, progress.best_step, progress.worse = marks["score"], progress.step, 0
            self._write(network.state_dict(), self._folder / BEST)
        else:
            progress.worse += 1
        if sheet is not None and self._crew.is_first:
            import cv2

            cv2.imwrite(str(self._folder / f"validation-{progress.step:07d}.jpg"), sheet)
        return {f"val/{name}": value for name, value in marks.items()}

    def _write(self, state: Mapping[str, Any], target: Path) -> None:
        if self._crew.is_first:
            save_whole(state, target)

    def _save(self) -> None:
        state = {
            "origin": self._origin,
            "progress": asdict(self.progress),
            "network": self._network.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        self._write(state, self._folder / CHECKPOINT)

    def _load(self, state: Mapping[str, Any]) -> None:
        if state["origin"] != self._origin:
            raise ValueError(
                f"{self._folder / CHECKPOINT}: was begun with other data or flags; name another folder, or take it away"
            )
        try:
            self._network.load_state_dict(state["network"])
            self._average.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:  # empty where it was begun in a precision that needs none
                self._scaler.load_state_dict(state["scaler"])
        except (RuntimeError, ValueError) as error:
            where = self._folder / CHECKPOINT
            raise ValueError(f"{where}: is of another network; name another folder, or take it away") from error
        self.progress = Progress(**state["progress"])


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights decay, what shifts and scales does not."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    """What a network is run in: by itself bf16 where the hardware has it, else fp16 on a GPU and fp32 on a CPU."""
    if precision != "auto":
        return _DTYPES[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
