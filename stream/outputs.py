"""Whether outputs can be what they are named, asked before anything is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from stream.images import find_pictures
from stream.sinks.partfile import part_path
from stream.sinks.target import PLAYLIST, segments_of, target_of
from stream.source import is_device, is_network, local_path, without_credentials
from stream.streams_file import NamedSource

PLACEHOLDER = "{source}"
"""In the name of an output: the name of the source."""
_ALL_RECORDS, _OWN_RECORDS = (".jsonl", ".csv"), (".coco.json", ".mot.txt")
"""Records that name the source of each row, and those that do not."""


def is_folder(output: str) -> bool:
    """Whether an output means a folder of pictures: it ends so, or is one."""
    return output.endswith(("/", "\\")) or (not is_network(output) and Path(output).is_dir())


def is_records(output: str) -> bool:
    """Whether an output is a file of records, by its ending."""
    return not is_network(output) and output.lower().endswith(_ALL_RECORDS + _OWN_RECORDS)


def place_of(output: str, source: str) -> str:
    """An output's name or address for one source: its name stands for {source}, and where a stream has no path."""
    place = output.replace(PLACEHOLDER, source)
    is_bare = is_network(place) and not urlsplit(place).path.strip("/")
    # By RTMP the first word of the path is the application, which nobody can guess.
    return _below(place, source) if is_bare and urlsplit(place).scheme in ("rtsp", "rtsps") else place


def is_shared(output: str, *, several: bool) -> bool:
    """Whether an output takes the results of several sources: records, unless their name holds that of the source."""
    return several and is_records(output) and PLACEHOLDER not in output


def _below(address: str, name: str) -> str:
    """An address with one more name in its path, before what may follow that."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def check_outputs(sources: Sequence[NamedSource], outputs: Sequence[str], *, is_cut: bool = False) -> None:
    """Raise ValueError unless every output has a place of its own, where no source is read from.

    `is_cut` says that they are cut into segments.
    """
    several = len(sources) > 1
    for output in outputs:
        if not output:
            raise ValueError("an output has no name; name a file or a folder/")
        if is_network(output):
            target_of(output)
        if several:
            _check_shared(output, sources, is_cut=is_cut)
    places = places_of(sources, outputs)
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"two outputs to {without_credentials(place)}; give each a name of its own")
        for source in sources:
            if not is_device(source.url) and not is_network(source.url):
                _check_apart(source.url, place)


def places_of(sources: Sequence[NamedSource], outputs: Sequence[str]) -> list[str]:
    """Where all outputs of a run go: full paths, those of folders with a / at the end, and addresses."""
    names = [source.name for source in sources]
    return [place for output in outputs for place in _places(output, names)]


def files_of(sources: Sequence[NamedSource], outputs: Sequence[str]) -> frozenset[str]:
    """The full paths that a run reads or writes, and that no output may stray into."""
    urls = [source.url for source in sources if not is_device(source.url) and not is_network(source.url)]
    return frozenset([*(str(local_path(url).resolve()) for url in urls), *places_of(sources, outputs)])


def _places(output: str, names: Sequence[str]) -> list[str]:
    """Where the output of each source goes, in full; once where all go to one place."""
    found = (place_of(output, name) for name in names)
    return list(dict.fromkeys(place if is_network(place) else _resolved(place) for place in found))


def _resolved(place: str) -> str:
    return str(Path(place).resolve()) + ("/" if is_folder(place) else "")


def _check_shared(output: str, sources: Sequence[NamedSource], *, is_cut: bool) -> None:
    """Raise ValueError where the results of several sources would run together in one output that cannot hold them."""
    if place_of(output, "a") != place_of(output, "b"):
        return
    if is_shared(output, several=True) and output.lower().endswith(_ALL_RECORDS):
        if is_cut:
            own = Path(output).with_name(f"{PLACEHOLDER}-{Path(output).name}")
            raise ValueError(f"{output}: segments are those of one source, and this is of {len(sources)}; write {own}")
        return
    if is_network(output):
        shown = without_credentials(output)
        if urlsplit(shown).scheme == "udp":
            remedy = "publish by RTSP or RTMP, or run the program once for each source"
        else:
            remedy = f"write {_below(shown, PLACEHOLDER)}"
        raise ValueError(f"{shown}: one address for {len(sources)} sources, and each needs its own; {remedy}")
    path = Path(output)
    example = f"{output}{PLACEHOLDER}/" if is_folder(output) else str(path.with_name(f"{PLACEHOLDER}-{path.name}"))
    reason = "its rows do not name their source" if output.lower().endswith(_OWN_RECORDS) else "each needs its own"
    raise ValueError(f"{output}: one output for {len(sources)} sources, and {reason}; write {example}")


def _segments(place: Path) -> list[Path]:
    """The files of an earlier stream that are deleted where a playlist is written anew."""
    return segments_of(place) if place.suffix.lower() == PLAYLIST else []


def _check_apart(source: str, output: str) -> None:
    """Raise ValueError where writing `output` would write over what `source` names."""
    place = Path(output)
    if is_folder(output):
        pictures = find_pictures(source) or []
        if any(picture.resolve().parent == place for picture in pictures):
            raise ValueError(f"the output {output} holds the source's own pictures; name another folder")
    elif local_path(source).resolve() in (place, part_path(place), *_segments(place)):
        raise ValueError(f"the output {output} is the source, or would be written over it; give it another name")
