"""Frames decoded on the device against the same by the CPU."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from stream.source import SourceOptions, open_source  # noqa: E402

SIZE = (256, 320)
"""Height and width; NVDEC takes no pictures of fewer than 48 lines."""
BT709, LIMITED = 1, 1


@pytest.mark.gpu
def test_nvdec_gives_the_same_pictures_tags_and_times(tmp_path: Path) -> None:
    """H.264 is decoded to the bit; tags and rotation are those of frames that stay on the device."""
    clip = tmp_path / "clip.mp4"
    random = np.random.default_rng(0)
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.height, stream.width = SIZE
        stream.codec_context.colorspace, stream.codec_context.color_range = BT709, LIMITED
        for shift in range(30):
            image = np.roll(np.kron(random.integers(0, 256, (8, 10, 3)), np.ones((32, 32, 1))), shift, axis=1)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image.astype(np.uint8), "bgr24")))
        output.mux(stream.encode(None))
    with (
        closing(open_source(str(clip))) as plain,
        closing(open_source(str(clip), SourceOptions(hwaccel="cuda"))) as other,
    ):
        assert other.info == plain.info
        pairs = list(zip(plain.frames(), other.frames(), strict=True))
    assert len(pairs) == 30
    for ours, theirs in pairs:
        assert theirs.pts == ours.pts
        np.testing.assert_array_equal(theirs.image, ours.image)
