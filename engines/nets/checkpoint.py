"""Checkpoints of torch: a stranger's pickle in, named tensors out."""

from __future__ import annotations

import pickle
import pickletools
import struct
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from engines.backends.base import EngineError

PROTOCOL = 2
"""Of pickle: what torch.save writes, and all that torch's restricted reader takes."""

_ZIP = b"PK\x03\x04"
_LEGACY_PICKLES = 4  # before torch 1.6: a magic number, a version, the machine and the object, one after the other
_WRAPPERS = ("state_dict", "model_state_dict", "model", "ema", "network", "net")
_DEPTH = 4  # of wrappers; a pickle may hold itself
_PREFIXES = ("module.", "_orig_mod.")  # DataParallel; torch.compile
_COUNTER = "num_batches_tracked"  # of a BatchNorm: for training only, and absent from checkpoints before torch 0.4.1
_NAMED_KEYS = 3  # in an error
_BROKEN = (  # what torch and zipfile raise for files that are cut, damaged or made up
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    EOFError,
    OverflowError,
    MemoryError,
    OSError,
)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the checkpoint at `path` under their names, in its order, on the CPU.

    A dictionary within it named `state_dict`, `model`, … is unwrapped, and `module.` before every name taken off.
    Nothing in the file is executed: it is read with `weights_only`, and what it names beside tensors (a configuration,
    a logger, exec) becomes an inert placeholder. Raises OSError where the file cannot be read, EngineError where it
    holds no tensors, is no checkpoint, or names what torch refuses whatever stands for it (os.system).
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, wanted a checkpoint; name the file in it")
    with path.open("rb") as file:
        loaded = _load(path, file)
    tensors = _named_tensors(loaded)
    if not tensors:
        raise EngineError(
            f"{path}: holds no named tensors, got {_contents(loaded)}; save it by torch.save(model.state_dict(), path)"
        )
    return _without_prefixes(tensors)


def load_strict(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Copy the tensors into the network, which must have just these names and shapes; `name` is for errors.

    Only the counters of BatchNorm (`num_batches_tracked`) may be missing: old checkpoints have none and nothing needs
    them. Raises EngineError that names the first few tensors that are missing, too many, or of another shape or kind.
    """
    own: dict[str, Tensor] = network.state_dict()
    missing = [key for key in own if key not in tensors and not key.endswith(_COUNTER)]
    extra = [key for key in tensors if key not in own]
    unlike = [
        f"{key} {_words(tensors[key])} for {_words(own[key])}"
        for key in own
        if key in tensors and _words(tensors[key]) != _words(own[key])
    ]
    faults = [("missing", missing), ("unknown", extra), ("unlike", unlike)]
    if any(keys for _, keys in faults):
        told = "; ".join(f"{len(keys)} {fault}: {_first(keys)}" for fault, keys in faults if keys)
        raise EngineError(f"{name}: the checkpoint does not fit the network: {told}")
    network.load_state_dict({**own, **tensors})


class _DictLike(type):
    """The type of `_Placeholder`; equal to dict, as torch's reader lets items be set on dictionaries only."""

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is dict

    __hash__ = type.__hash__


class _Placeholder(metaclass=_DictLike):
    """Stands for whatever a checkpoint names and we do not know: takes what a pickle gives, keeps and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...


def _load(path: Path, file: IO[bytes]) -> object:
    """What the pickle holds, placeholders in the place of all that is unknown to torch."""
    names: set[str] = set()
    try:
        names = _global_names(path, file)
        file.seek(0)
        with torch.serialization.safe_globals([(_Placeholder, name) for name in names]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own words advise to read it without the restriction
        strange = sorted(name for name in names if not name.startswith(("torch.", "collections.OrderedDict")))
        raise EngineError(
            f"{path}: torch refuses to read it as weights only (it names {_first(strange) or 'nothing strange'}), it"
            " may do harm; wanted a file of tensors alone, as torch.save(model.state_dict(), path) makes"
        ) from error
    except _BROKEN as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineError(f"{path}: no readable checkpoint of torch ({reason}); fetch or save it again") from error


def _global_names(path: Path, file: IO[bytes]) -> set[str]:
    """The classes and functions, `module.name`, that the checkpoint's pickles call for; nothing is loaded."""
    head = file.read(len(_ZIP))
    file.seek(0)
    if not head:
        raise EngineError(f"{path}: the checkpoint is empty; fetch it again")
    if head != _ZIP and not head.startswith(pickle.PROTO):
        raise EngineError(f"{path}: begins with {head!r}, so it is no checkpoint of torch; fetch it again")
    if head != _ZIP:
        return set().union(*(_names_of_pickle(path, file) for _ in range(_LEGACY_PICKLES)))
    names: set[str] = set()
    with zipfile.ZipFile(file) as archive:
        entries = [Path(entry).name for entry in archive.namelist()]
        if "constants.pkl" in entries:
            raise EngineError(f"{path}: is a TorchScript program, wanted a checkpoint; save its state_dict()")
        for entry in archive.namelist():
            if Path(entry).name == "data.pkl":
                with archive.open(entry) as stream:
                    names |= set(_names_of_pickle(path, stream))
    return names


def _names_of_pickle(path: Path, stream: IO[bytes]) -> Iterator[str]:
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL":
            module, name = str(argument).split(" ", 1)
            yield f"{module}.{name}"
            yield ".".join(_of_python_3(module, name))
        elif opcode.name == "PROTO" and int(argument or 0) > PROTOCOL:
            raise EngineError(
                f"{path}: pickled by protocol {argument}, wanted {PROTOCOL}; save it again by torch.save as it comes"
            )


def _of_python_3(module: str, name: str) -> tuple[str, str]:
    """Where Python 3 has what a pickle calls by its name in Python 2, as protocol 2 does."""
    return NAME_MAPPING.get((module, name)) or (IMPORT_MAPPING.get(module, module), name)


def _named_tensors(loaded: object, depth: int = _DEPTH) -> dict[str, Tensor]:
    """The tensors of the dictionary that a dictionary wraps, or, where it wraps none, its own."""
    if not isinstance(loaded, Mapping) or depth == 0:
        return {}
    wrapped = (_named_tensors(loaded.get(key), depth - 1) for key in _WRAPPERS)
    return next(filter(None, wrapped), None) or {
        key: value.detach()
        for key, value in loaded.items()
        if isinstance(key, str) and isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta
    }


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            return _without_prefixes({key.removeprefix(prefix): value for key, value in tensors.items()})
    return tensors


def _contents(loaded: Any) -> str:
    """What a file holds that is no dictionary of tensors, in words."""
    if isinstance(loaded, Mapping):
        return f"a dictionary of {_first([str(key) for key in loaded])}" if loaded else "an empty dictionary"
    return "a whole pickled model" if isinstance(loaded, _Placeholder) else type(loaded).__name__


def _words(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {tensor.dtype}".replace("torch.", "")
    return f"{tuple(tensor.shape)}{kind}"


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:_NAMED_KEYS]) + (", …" if len(keys) > _NAMED_KEYS else "")
