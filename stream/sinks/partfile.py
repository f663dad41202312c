"""An output under a passing name until it is whole: NAME.part.EXT, then NAME.EXT."""

from __future__ import annotations

from pathlib import Path

from stream.source import StreamError

# Endings that count as one, so that a half-written file keeps the whole of it.
_DOUBLE_ENDINGS = (".coco.json", ".mot.txt")


def split_name(path: Path) -> tuple[str, str]:
    """A file's name before its ending, and the ending: clip and .mp4, out and .coco.json."""
    ending = next((e for e in _DOUBLE_ENDINGS if path.name.lower().endswith(e)), path.suffix)
    length = len(path.name) - len(ending)
    return path.name[:length], path.name[length:]


def added(path: Path, text: str) -> Path:
    """The path with `text` before the ending of its name."""
    stem, ending = split_name(path)
    return path.with_name(f"{stem}{text}{ending}")


def part_path(path: Path) -> Path:
    """Where `path` is written until it is whole: clip.mp4 -> clip.part.mp4, out.coco.json -> out.part.coco.json."""
    return added(path, ".part")


class PartFile:
    """The name of an output while it is written, and its final name once it is whole.

    Raises FileExistsError where `overwrite` is not set and `path` exists, or a part with something in it: that may be
    all that a killed run left, or a file of the user's own. Raises StreamError where nothing can be written there. The
    caller opens `part` and closes it before `finish`.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if path.is_dir():
            raise FileExistsError(f"{path}: is a folder; name a file")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path}: exists already; name another output or give --overwrite")
        self.path = path
        self.part = part_path(path)
        if not overwrite and self.part.is_file() and self.part.stat().st_size:
            raise FileExistsError(
                f"{path}: {self.part.name} is there already, perhaps from a run that was cut off; "
                "rename or delete it, or give --overwrite"
            )
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            self.part.open("wb").close()
        except OSError as error:
            raise StreamError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error

    def finish(self, *, keep_existing: bool = False) -> None:
        """Give the output its final name, in one step; not where `keep_existing` and there is a file of that name."""
        if keep_existing and self.path.exists():
            return
        try:
            self.part.replace(self.path)
        except OSError as error:
            raise StreamError(
                f"{self.path}: cannot be given its name ({error.strerror}); the output is {self.part}"
            ) from error

    def discard(self) -> None:
        """Remove a part into which nothing was written."""
        self.part.unlink(missing_ok=True)
