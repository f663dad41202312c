"""Whether outputs can be what they are named, asked before anything is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stream.images import find_pictures
from stream.sinks.partfile import part_path
from stream.source import is_device, is_network, local_path, without_credentials


def is_folder(output: str) -> bool:
    """Whether an output means a folder of pictures: it ends so, or is one."""
    return output.endswith(("/", "\\")) or Path(output).is_dir()


def check_outputs(sources: Sequence[str], outputs: Sequence[str]) -> None:
    """Raise ValueError unless every output has a place of its own, where no source is read from."""
    for output in outputs:
        if not output:
            raise ValueError("an output has no name; name a file or a folder/")
        if is_network(output):
            raise ValueError(f"{without_credentials(output)}: streams are not written; name a file or a folder/")
    places = [Path(output).resolve() for output in outputs]
    for output, place in zip(outputs, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"two outputs to {place}; give each a name of its own")
        for source in sources:
            if not is_device(source) and not is_network(source):
                _check_apart(source, output, place)


def _check_apart(source: str, output: str, place: Path) -> None:
    """Raise ValueError where writing `output` would write over what `source` names."""
    if is_folder(output):
        pictures = find_pictures(source) or []
        if any(picture.resolve().parent == place for picture in pictures):
            raise ValueError(f"the output {output} holds the source's own pictures; name another folder")
    elif local_path(source).resolve() in (place, part_path(place)):
        raise ValueError(f"the output {output} is the source, or would be written over it; give it another name")
