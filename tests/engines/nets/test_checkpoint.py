"""Checkpoints: tensors under their names, whatever wraps them, and nothing else."""

from __future__ import annotations

import argparse
import builtins
import collections
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.backends.base import EngineError  # noqa: E402
from engines.nets.checkpoint import load_strict, read_tensors  # noqa: E402

BOTH_FORMATS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


class Call:
    """Pickles as a call of `function`, made when the pickle is read."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments


class Config(dict):  # type: ignore[type-arg]
    """As yacs and mmengine write into checkpoints: a dictionary of a class of theirs."""


class Logger:
    def __init__(self) -> None:
        self.history = np.arange(3.0)


def weights() -> dict[str, object]:
    """Out of alphabetical order, a parameter among them."""
    return collections.OrderedDict(
        [("conv.weight", torch.arange(6.0).reshape(2, 3)), ("bn.bias", torch.ones(2, requires_grad=True))]
    )


def save(path: Path, content: object, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@BOTH_FORMATS
@pytest.mark.parametrize(
    "wrap",
    [
        lambda named: named,
        lambda named: {"state_dict": named, "meta": {"epoch": 210, "config": "model = dict()"}},
        lambda named: {"start_epoch": 300, "model": named, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
        lambda named: {"epoch": 1, "model": "pose_hrnet", "state_dict": named, "perf": 0.7},
        lambda named: {"state_dict": {"module." + key: value for key, value in named.items()}},
        lambda named: {"module._orig_mod." + key: value for key, value in named.items()},
        lambda named: {"model": {"state_dict": named}},
        lambda named: {"best": torch.ones(1), "model": named, "state_dict": None},
        lambda named: {"_orig_mod.module." + key: value for key, value in named.items()},
        lambda named: {"network": named, "log": Logger(), "args": argparse.Namespace(lr=0.1), "best": np.float64(7)},
        lambda named: {"state_dict": named, "cfg": Config(lr=0.1, model=Config(depth=3)), "where": Path("work")},
    ],
)
def test_tensors_are_found_in_what_wraps_them(
    tmp_path: Path, wrap: Callable[[dict[str, object]], object], legacy: bool
) -> None:
    tensors = read_tensors(save(tmp_path / "a.pth", wrap(weights()), legacy))
    assert list(tensors) == ["conv.weight", "bn.bias"]
    assert tensors["conv.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["bn.bias"].tolist() == [1, 1]
    assert not tensors["bn.bias"].requires_grad


def test_a_prefix_that_not_all_names_have_stays(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", {"module.a": torch.zeros(1), "b": torch.zeros(1)})
    assert list(read_tensors(path)) == ["module.a", "b"]


@BOTH_FORMATS
@pytest.mark.parametrize(
    ("function", "code"),
    [
        (builtins.exec, "import pathlib; pathlib.Path({!r}).touch()"),
        (builtins.eval, "__import__('pathlib').Path({!r}).touch()"),
        (subprocess.getoutput, "touch {!r}"),
    ],
)
def test_a_malicious_pickle_runs_nothing_and_gives_its_tensors(
    tmp_path: Path, function: Callable[..., object], code: str, legacy: bool
) -> None:
    trace = tmp_path / "executed"
    call = Call(function, code.format(str(trace)))
    path = save(tmp_path / "evil.pth", {"meta": call, "state_dict": weights()}, legacy)
    assert list(read_tensors(path)) == ["conv.weight", "bn.bias"]
    assert not trace.exists()
    pickle.loads(pickle.dumps(call))
    assert trace.exists()  # so the call does do harm where it is made


@BOTH_FORMATS
@pytest.mark.parametrize(
    ("function", "argument", "named"),
    [
        (os.system, "touch executed", "posix.system"),
        (Path.touch, Path("executed"), "builtins.getattr"),  # pickled as getattr(Path, "touch"), then called
    ],
)
def test_what_torch_refuses_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: Callable[..., object],
    argument: object,
    named: str,
    legacy: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "evil.pth", {"meta": Call(function, argument), "state_dict": weights()}, legacy)
    with pytest.raises(EngineError, match=r"evil\.pth: torch refuses to read it as weights only") as info:
        read_tensors(path)
    assert named in str(info.value)
    assert "\n" not in str(info.value)
    assert "False" not in str(info.value)  # torch's advice to read it without the restriction
    assert not (tmp_path / "executed").exists()


@BOTH_FORMATS
def test_reading_leaves_no_class_allowed(tmp_path: Path, legacy: bool) -> None:
    before = set(torch.serialization.get_safe_globals())
    read_tensors(save(tmp_path / "a.pth", {"state_dict": weights(), "log": Logger()}, legacy))
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "an empty dictionary"),
        ({"epoch": 3, "lr": 0.1}, "a dictionary of epoch, lr"),
        ([1, 2], "got list"),
        (torch.zeros(3), "got Tensor"),
        (torch.nn.Linear(2, 2), "a whole pickled model"),
        ({"model": torch.nn.Linear(2, 2)}, "a dictionary of model"),
    ],
)
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object, words: str) -> None:
    with pytest.raises(EngineError, match=rf"a\.pth: holds no named tensors, .*{words}"):
        read_tensors(save(tmp_path / "a.pth", content))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the checkpoint is empty"),
        (b"<html>404</html>", "begins with b'<htm'"),
        (b"PK\x03\x04 and no more", "no readable checkpoint"),
        (b"\x80\x02}q\x00.", "no readable checkpoint"),
        (pickle.dumps({"a": 1}, protocol=4), "pickled by protocol 4, wanted 2"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    with pytest.raises(EngineError) as info:
        read_tensors(path)
    assert words in str(info.value)
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


@BOTH_FORMATS
def test_a_checkpoint_cut_anywhere_is_refused(tmp_path: Path, legacy: bool) -> None:
    data = save(tmp_path / "a.pth", {"state_dict": weights()}, legacy).read_bytes()
    cut = tmp_path / "cut.pth"
    for length in range(0, len(data) - 1, 7):
        cut.write_bytes(data[:length])
        with pytest.raises(EngineError, match=r"cut\.pth"):
            read_tensors(cut)


def test_a_dictionary_that_wraps_itself_is_refused(tmp_path: Path) -> None:
    content: dict[str, object] = {"epoch": 1}
    content["state_dict"] = content
    with pytest.raises(EngineError, match="a dictionary of epoch, state_dict"):
        read_tensors(save(tmp_path / "a.pth", content))


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a/data.pkl", "a/constants.pkl"):
            archive.writestr(name, pickle.dumps({}, protocol=2))
    with pytest.raises(EngineError, match=r"a\.pt: is a TorchScript program"):
        read_tensors(path)


def test_a_missing_file_and_a_folder_are_os_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        read_tensors(tmp_path / "none.pth")
    with pytest.raises(IsADirectoryError, match="wanted a checkpoint"):
        read_tensors(tmp_path)


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def test_load_strict_copies_every_tensor() -> None:
    given = network().state_dict()
    given["1.running_mean"] += 5
    taken = network()
    load_strict(taken, given, "a.pth")
    assert all(torch.equal(value, given[key]) for key, value in taken.state_dict().items())


def test_load_strict_takes_half_precision_and_old_checkpoints_without_counters() -> None:
    given = {k: v.half() for k, v in network().state_dict().items() if not k.endswith("num_batches_tracked")}
    taken = network()
    load_strict(taken, given, "a.pth")
    assert taken[0].weight.dtype == torch.float32
    assert torch.equal(taken[0].weight, given["0.weight"].float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda named: named.pop("0.bias"), "1 missing: 0.bias"),
        (lambda named: named.update(more=torch.zeros(1)), "1 unknown: more"),
        (lambda named: named.update({"2.num_batches_tracked": torch.zeros(1)}), "1 unknown: 2.num_batches_tracked"),
        (lambda named: named.update({"0.bias": torch.zeros(5)}), "1 unlike: 0.bias (5,) for (4,)"),
        (lambda named: named.update({"0.bias": torch.zeros(4, dtype=torch.int64)}), "0.bias (4,) int64 for (4,)"),
        (lambda named: named.clear(), "6 missing: 0.weight, 0.bias, 1.weight, …"),
        (
            lambda named: (named.pop("0.bias"), named.update(bias=torch.zeros(4))),
            "1 missing: 0.bias; 1 unknown: bias",
        ),
    ],
)
def test_load_strict_names_what_does_not_fit(change: Callable[[dict[str, object]], object], message: str) -> None:
    taken = network()
    kept = {key: value.clone() for key, value in taken.state_dict().items()}
    given = dict(network().state_dict())
    change(given)
    with pytest.raises(EngineError) as info:
        load_strict(taken, given, "a.pth")
    assert str(info.value).startswith("a.pth: the checkpoint does not fit the network: ")
    assert message in str(info.value)
    assert all(torch.equal(value, kept[key]) for key, value in taken.state_dict().items())
