"""Models by name and by path: where they are looked for, in what order, and what is said where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.backends.base import EngineError
from engines.cards import ModelCard, Task
from engines.catalog import Catalog, MissingModelError, cache_folder, load_catalog, published

CARD = "{name: NAME, family: FAMILY, input: {size: [256, 192]}EXTRA}"


def put(
    folder: Path,
    stem: str,
    card: str | None = None,
    family: str = "heatmap",
    model: bool = True,
    ending: str = ".onnx",
) -> Path:
    """A model file in a folder, with a card of the name `card` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{stem}{ending}"
    if model:
        file.write_bytes(b"onnx")
    if card is not None:
        extra = ", skeleton: coco17" if family in ("heatmap", "simcc") else ""
        text = CARD.replace("NAME", card).replace("FAMILY", family).replace("EXTRA", extra)
        file.with_suffix(".yaml").write_text(text)
    return file


def test_the_published_models() -> None:
    cards = published()
    sizes = ["nano", "tiny", "s", "m", "l", "x"]
    assert [card.name for card in cards] == [
        *(f"yolox-{size}" for size in sizes),
        *(f"yolox-human-{size}" for size in sizes),
        "rtmpose-s",
        "rtmpose-m",
        *(f"hrnet-{width}{kind}" for width in ("w32", "w48") for kind in ("", "-384")),
        *(f"hrnet-{width}-mpii" for width in ("w32", "w48")),
    ]
    for card in cards:
        assert card.license == "Apache-2.0"
        assert card.accuracy is not None
        assert card.accuracy.published
        assert card.source is not None
        assert card.source.url is not None
        assert card.source.url.startswith("https://")
        assert (card.source.member == "end2end.onnx") == card.source.url.endswith(".zip")
        # OpenMMLab's checkpoints have the begin of their hash in their name; zips and GitHub's files have none.
        assert (card.source.sha256 is not None) == card.source.url.endswith(".pth")
        assert card.source.sha256 is None or f"-{card.source.sha256}_20" in card.source.url


@pytest.mark.parametrize(
    ("name", "family", "size"),
    [
        ("yolox-tiny", "yolox", (416, 416)),
        ("yolox-s", "yolox", (640, 640)),
        ("yolox-human-nano", "end2end", (416, 416)),
        ("yolox-human-m", "end2end", (640, 640)),
        ("rtmpose-m", "simcc", (256, 192)),
        ("hrnet-w32", "heatmap", (256, 192)),
        ("hrnet-w48-384", "heatmap", (384, 288)),
        ("hrnet-w32-mpii", "heatmap", (256, 256)),
    ],
)
def test_a_published_card_says_what_the_model_eats(name: str, family: str, size: tuple[int, int]) -> None:
    card = {card.name: card for card in published()}[name]
    assert (card.family, card.input.size) == (family, size)
    assert card.input.color == ("rgb" if card.task == "pose" else "bgr")
    means = {"simcc": (123.675, 116.28, 103.53), "heatmap": (0.485, 0.456, 0.406)}
    assert card.input.mean == means.get(family, (0, 0, 0))
    assert card.skeleton == (None if card.task == "detect" else "mpii16" if "mpii" in name else "coco17")


def test_a_path_comes_first_and_its_card_lies_beside_it(tmp_path: Path) -> None:
    catalog = load_catalog([], tmp_path)
    file = put(tmp_path / "mine", "pose", "my-pose")
    found = catalog.resolve(str(file), "pose")
    assert (found.path, found.card and found.card.name) == (file, "my-pose")
    bare = put(tmp_path / "mine", "bare")
    assert catalog.resolve(str(bare), "pose").card is None


def test_a_name_is_looked_for_in_the_folders_then_in_the_cache(tmp_path: Path) -> None:
    first, second, cache = tmp_path / "1", tmp_path / "2", tmp_path / "cache"
    expected = [put(folder, "x", "pose-x") for folder in (first, second, cache)]
    for folders, file in (([first, second], expected[0]), ([second], expected[1]), ([], expected[2])):
        assert load_catalog(folders, cache).resolve("pose-x", "pose").path == file


def test_the_environment_names_the_folders(tmp_path: Path) -> None:
    files = [put(tmp_path / folder, f"m{folder}", f"pose-{folder}") for folder in ("1", "2")]
    environ = {
        "POSESTREAM_MODELS": os.pathsep.join(str(file.parent) for file in files),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "LOCALAPPDATA": str(tmp_path / "cache"),
    }
    catalog = Catalog.load(environ)
    assert [catalog.resolve(f"pose-{i}", "pose").path for i in (1, 2)] == files


def test_a_file_copied_by_hand_under_a_published_name_gets_the_published_card(tmp_path: Path) -> None:
    file = put(tmp_path, "rtmpose-s")
    found = load_catalog([], tmp_path).resolve("rtmpose-s", "pose")
    assert found.path == file
    assert found.card == {card.name: card for card in published()}["rtmpose-s"]


def test_a_file_without_any_card_is_known_by_its_stem(tmp_path: Path) -> None:
    file = put(tmp_path, "own_detector")
    found = load_catalog([tmp_path], tmp_path / "cache").resolve("own_detector", "detect")
    assert (found.path, found.card) == (file, None)


def test_a_published_model_that_is_not_here_says_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r"yolox-s: .*python run\.py models fetch yolox-s$"):
        load_catalog([], tmp_path).resolve("yolox-s", "detect")


def test_an_unknown_name_lists_near_ones(tmp_path: Path) -> None:
    catalog = load_catalog([], tmp_path)
    with pytest.raises(EngineError, match=r"^yolo-nano: no such model; did you mean yolox-nano or "):
        catalog.resolve("yolo-nano", "detect")
    with pytest.raises(EngineError, match=r"zzz: .* models lists them; a path ends in \.onnx \.pth \.pt"):
        catalog.resolve("zzz", "detect")


def test_a_model_of_the_other_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="rtmpose-s: is a model to pose with; wanted one to detect"):
        load_catalog([], tmp_path).resolve("rtmpose-s", "detect")


def test_paths_that_are_no_models(tmp_path: Path) -> None:
    catalog = load_catalog([], tmp_path)
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx: no such file"):
        catalog.resolve(str(tmp_path / "gone.onnx"), "detect")
    with pytest.raises(FileNotFoundError, match=r"gone\.pth: no such file"):
        catalog.resolve(str(tmp_path / "gone.pth"), "pose")
    program = tmp_path / "hrnet.ckpt"
    program.write_bytes(b"")
    with pytest.raises(EngineError, match=r"hrnet\.ckpt: models are files that end in \.onnx \.pth \.pt \.weights"):
        catalog.resolve(str(program), "pose")


@pytest.mark.parametrize("ending", [".pth", ".pt", ".weights"])
def test_a_checkpoint_is_a_model_by_path_and_by_name(tmp_path: Path, ending: str) -> None:
    file = put(tmp_path, "net", "my-net", ending=ending)
    catalog = load_catalog([tmp_path], tmp_path / "cache")
    for name in (str(file), "my-net"):
        found = catalog.resolve(name, "pose")
        assert (found.path, found.card and found.card.name) == (file, "my-net")


def test_an_onnx_goes_before_a_checkpoint_of_its_name(tmp_path: Path) -> None:
    put(tmp_path, "hrnet-w32", ending=".pth")
    onnx = put(tmp_path, "hrnet-w32")
    assert load_catalog([], tmp_path).resolve("hrnet-w32", "pose").path == onnx


def test_with_nothing_named_a_checkpoint_is_taken_last(tmp_path: Path) -> None:
    checkpoint = put(tmp_path, "aa", "aa", ending=".pth")
    assert load_catalog([tmp_path], tmp_path).default("pose").path == checkpoint
    onnx = put(tmp_path, "zz", "zz")
    assert load_catalog([tmp_path], tmp_path).default("pose").path == onnx


def test_a_model_of_any_task_is_located(tmp_path: Path) -> None:
    detector, pose = put(tmp_path, "d", "d", "yolox"), put(tmp_path, "p", "p")
    catalog = load_catalog([tmp_path], tmp_path)
    assert [catalog.locate(name).path for name in ("d", "p", str(pose))] == [detector, pose, pose]
    with pytest.raises(MissingModelError, match="models fetch hrnet-w32"):
        catalog.locate("hrnet-w32")


def test_a_folder_called_like_a_model_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolox-nano").mkdir()
    with pytest.raises(MissingModelError):
        load_catalog([], tmp_path).resolve("yolox-nano", "detect")


def test_a_broken_card_is_a_fault_of_its_own_model_only(tmp_path: Path) -> None:
    put(tmp_path, "good", "good")
    (put(tmp_path, "bad").with_suffix(".yaml")).write_text("{name: bad, family: heatmap, sise: 3}")
    catalog = load_catalog([tmp_path], tmp_path / "cache")
    assert catalog.resolve("good", "pose").path == tmp_path / "good.onnx"
    assert list(catalog.faults) == ["bad"]
    with pytest.raises(EngineError, match=r"bad\.yaml: "):
        catalog.resolve("bad", "pose")
    with pytest.raises(EngineError, match=r"bad\.yaml: "):
        catalog.resolve(str(tmp_path / "bad.onnx"), "pose")


def test_a_folder_of_the_environment_that_is_none_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert load_catalog([gone], tmp_path).faults == {str(gone): f"POSESTREAM_MODELS: {gone} is no folder"}


def test_a_card_without_its_file_can_still_be_fetched(tmp_path: Path) -> None:
    put(tmp_path, "mine", "mine", model=False)
    model = load_catalog([tmp_path], tmp_path / "cache").find("mine")
    assert (model.path, isinstance(model.card, ModelCard)) == (None, True)


@pytest.mark.parametrize(
    ("task", "there", "taken"),
    [
        ("detect", ["zz-detector"], "zz-detector"),
        ("detect", ["aa-detector", "yolox-nano"], "yolox-nano"),
        ("pose", ["bb-pose", "aa-pose"], "aa-pose"),
        ("pose", ["aa-detector", "bb-pose", "no-card"], "bb-pose"),
    ],
)
def test_with_nothing_named_the_default_or_the_first_that_is_there_is_taken(
    tmp_path: Path, task: Task, there: list[str], taken: str
) -> None:
    for name in there:
        card = None if name in ("no-card", "yolox-nano") else name
        put(tmp_path, name, card, "heatmap" if "pose" in name else "yolox")
    assert load_catalog([tmp_path], tmp_path / "cache").resolve(None, task).path.stem == taken


def test_with_nothing_named_the_folders_come_before_the_cache(tmp_path: Path) -> None:
    put(tmp_path / "cache", "aa", "aa")
    put(tmp_path / "mine", "zz", "zz")
    assert load_catalog([tmp_path / "mine"], tmp_path / "cache").default("pose").path.stem == "zz"


def put_embedded(folder: Path) -> Path:
    """A folder of a detector and a pose network as they come with the program."""
    put(folder, "our-detect", "our-detect", "yolox")
    put(folder, "our-pose", "our-pose")
    return folder


def test_with_nothing_named_and_nothing_there_the_embedded_models_run(tmp_path: Path) -> None:
    catalog = load_catalog([], tmp_path / "cache", put_embedded(tmp_path / "weights"))
    assert catalog.default("detect").path == tmp_path / "weights" / "our-detect.onnx"
    assert catalog.resolve(None, "pose").path == tmp_path / "weights" / "our-pose.onnx"
    assert catalog.resolve("our-pose", "pose").path == tmp_path / "weights" / "our-pose.onnx"
    assert [model.name for model in catalog.models if model.is_embedded] == ["our-detect", "our-pose"]


@pytest.mark.parametrize("ending", [".onnx", ".pth"])
@pytest.mark.parametrize("name", ["aa", "zz", "rtmpose-s"])
def test_what_somebody_put_here_runs_before_the_embedded(tmp_path: Path, name: str, ending: str) -> None:
    mine = put(tmp_path / "cache", name, name, ending=ending)
    catalog = load_catalog([], tmp_path / "cache", put_embedded(tmp_path / "weights"))
    assert catalog.default("pose").path == mine
    assert catalog.default("detect").path.stem == "our-detect"


def test_a_model_of_the_name_of_an_embedded_one_takes_its_place(tmp_path: Path) -> None:
    mine = put(tmp_path / "mine", "my-file", "our-pose")
    catalog = load_catalog([tmp_path / "mine"], tmp_path / "cache", put_embedded(tmp_path / "weights"))
    assert catalog.find("our-pose").path == mine
    assert not catalog.find("our-pose").is_embedded


def test_where_the_embedded_models_are_lost_the_way_to_others_is_told(tmp_path: Path) -> None:
    catalog = load_catalog([], tmp_path, tmp_path / "lost")
    with pytest.raises(
        MissingModelError, match=r"no model to pose with .* install it again.*fetch yolox-nano rtmpose-s$"
    ):
        catalog.resolve(None, "pose")


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, Path("/x/posestream")),
        ("linux", {}, Path.home() / ".cache" / "posestream"),
        ("linux", {"XDG_CACHE_HOME": ""}, Path.home() / ".cache" / "posestream"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, Path.home() / "Library" / "Caches" / "posestream"),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local/posestream")),
        ("win32", {}, Path.home() / "AppData" / "Local" / "posestream"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(platform: str, environ: dict[str, str], folder: Path) -> None:
    assert cache_folder(environ, platform) == folder
