"""TensorRT and TensorRT-RTX as one library: which is installed, what it says of errors, and the GPU it runs on."""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from engines.backends.base import EngineError

LIBRARIES: Final = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
"""Modules of one API, in the order they are tried: the first times its kernels, and knows the GPUs of data centres."""
NVML: Final = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
"""The part of NVIDIA's driver that tells its version."""

_BEFORE = re.compile(r"^.*?Error Code \d+: ")
_PLACE = re.compile(r"\s*\bIn \w+ at \S+:\d+\s*")


@dataclass(frozen=True, slots=True)
class Library:
    """TensorRT or TensorRT-RTX: its Python module, and its name."""

    module: Any
    name: str

    @property
    def is_rtx(self) -> bool:
        """Whether it compiles kernels where it runs, and so builds for GPUs that are not here, without timing them."""
        return self.name == LIBRARIES["tensorrt_rtx"]

    @property
    def words(self) -> str:
        """Name and version, as `TensorRT 10.13.2.6`."""
        return f"{self.name} {self.module.__version__}"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: torch's name of the `device`, what it is called, its compute capability as `8.9`, its driver's version."""

    device: str
    name: str
    capability: str
    driver: str


def load_library() -> Library:
    """The library that is installed, the full TensorRT before TensorRT-RTX; ImportError where neither is."""
    for module, name in LIBRARIES.items():
        try:
            return Library(import_module(module), name)
        except (ImportError, OSError):  # OSError: the module is there, and a library of CUDA that it wants is not
            continue
    raise ImportError(f"no module of {' or '.join(LIBRARIES)} can be imported")


def find_gpu(device: str) -> Gpu:
    """The GPU that torch calls `device`, `auto` being its first; EngineError where there is none."""
    import torch

    from engines.nets.stopwatch import device_words

    if device == "cpu":
        raise EngineError("device cpu: TensorRT runs on a GPU alone; use --device cuda:0, or another --backend")
    index = torch.device("cuda" if device == "auto" else device).index or 0
    device_words(f"cuda:{index}")  # raises where it is not there
    found = torch.cuda.get_device_properties(index)
    return Gpu(f"cuda:{index}", found.name, f"{found.major}.{found.minor}", driver_version())


def driver_version(nvml: str = NVML) -> str:
    """The version of NVIDIA's driver, as `580.95.05`; `unknown` where it does not tell."""
    try:
        library = ctypes.CDLL(nvml)
    except OSError:
        return "unknown"
    if library.nvmlInit_v2() != 0:
        return "unknown"
    text = ctypes.create_string_buffer(80)  # the length that NVML's header names
    failed = library.nvmlSystemGetDriverVersion(text, len(text))
    library.nvmlShutdown()
    return "unknown" if failed else text.value.decode()


def listen(module: Any) -> Any:
    """A new ILogger of the library that prints nothing and keeps the errors, as lines, in `errors`."""

    class Listener(module.ILogger):  # type: ignore[misc]
        """Called from any thread; must not raise, as the library would print that and go on."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(module.ILogger.Severity.ERROR):  # internal errors are 0, errors 1, warnings 2
                self.errors.append(message)

    return Listener()


def reason(listener: Any) -> str:
    """What went wrong first, as the library tells it, in one line and without the places in its code."""
    if not listener.errors:
        return "it does not say why"
    first = " ".join(listener.errors[0].split())
    short = _PLACE.sub("", _BEFORE.sub("", first))
    return short.replace("()", "").replace("((", "(").replace("))", ")").strip()[:300]
