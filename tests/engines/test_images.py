"""The pictures of a step: up once, known again by their arrays, held no longer than a step."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.images import Copies, ImageBatch, on_device  # noqa: E402
from engines.results import Image  # noqa: E402


def picture(value: int = 0, size: tuple[int, int] = (4, 6)) -> Image:
    return np.full((*size, 3), value, np.uint8)


def test_what_the_detector_put_there_goes_up_once() -> None:
    batch, images = ImageBatch(), [picture(1), picture(2, (1, 1)), picture(3)]
    put = batch.put(images, "cpu")
    taken = batch.take([images[2], images[0]], "cpu")
    assert taken[0] is put[2]
    assert taken[1] is put[0]
    assert [one.shape for one in put] == [(4, 6, 3), (1, 1, 3), (4, 6, 3)]
    assert [int(one[0, 0, 0]) for one in put] == [1, 2, 3]
    assert (batch.copies.uploads, batch.copies.uploaded_bytes) == (3, 72 + 3 + 72)


def test_pictures_that_were_not_detected_go_up_for_the_poses() -> None:
    batch, seen, unseen = ImageBatch(), picture(1), picture(2)
    batch.put([seen], "cpu")
    first, second = batch.take([unseen, seen], "cpu")
    assert (int(first[0, 0, 0]), int(second[0, 0, 0])) == (2, 1)
    assert batch.copies.uploads == 2


def test_an_array_that_comes_twice_goes_up_once() -> None:
    batch, image = ImageBatch(), picture(5)
    first, second = batch.put([image, image], "cpu")
    assert first is second
    assert batch.copies.uploads == 1


def test_an_equal_array_is_another_picture() -> None:
    batch = ImageBatch()
    batch.put([picture(1)], "cpu")
    batch.take([picture(1)], "cpu")
    assert batch.copies.uploads == 2


@pytest.mark.parametrize("between", ["put", "take", "nothing taken"])
def test_an_array_written_to_between_steps_is_shown_anew(between: str) -> None:
    batch, image = ImageBatch(), picture(1)
    batch.put([image], "cpu")
    if between == "take":
        batch.take([image], "cpu")
    elif between == "nothing taken":
        batch.take([], "cpu")
    image[:] = 9
    (shown,) = batch.put([image], "cpu") if between == "put" else batch.take([image], "cpu")
    assert int(shown[0, 0, 0]) == 9


def test_the_picture_on_the_device_is_a_copy() -> None:
    batch, image = ImageBatch(), picture(1)
    (shown,) = batch.put([image], "cpu")
    image[:] = 9
    assert int(shown[0, 0, 0]) == 1


def test_no_array_outlives_its_step() -> None:
    batch, image = ImageBatch(), picture()
    alive = weakref.ref(image)
    batch.put([image], "cpu")
    del image
    gc.collect()
    assert alive() is not None  # or its id would become another's
    batch.take([], "cpu")
    gc.collect()
    assert alive() is None


def test_arrays_of_any_layout_go_up() -> None:
    whole = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    still = whole.copy()
    still.flags.writeable = False
    for image in (whole[:, ::-1], whole[::2, 1:4], whole[..., ::-1], still):
        np.testing.assert_array_equal(Copies().send(image, "cpu").numpy(), image)
    assert Copies().send(np.array([[1.5, 2]]), "cpu").dtype == torch.float64


def test_tensors_come_back_together_in_their_shapes() -> None:
    copies = Copies()
    tensors = [torch.arange(6.0).reshape(2, 3), torch.empty(0, 4), torch.tensor([[[7.0]]]), torch.arange(4.0)[::2]]
    fetched = copies.fetch(tensors)
    assert [one.tolist() for one in fetched] == [[[0, 1, 2], [3, 4, 5]], [], [[[7]]], [0, 2]]
    assert [one.shape for one in fetched] == [(2, 3), (0, 4), (1, 1, 1), (2,)]
    assert (copies.fetches, copies.fetched_bytes) == (1, 9 * 4)
    fetched[0][:] = 9
    assert tensors[0][0, 0] == 0


def test_copies_are_told_per_frame() -> None:
    assert Copies().words(10) == ""
    assert Copies(uploads=1).words(0) == ""
    copies = Copies(uploads=15, uploaded_bytes=62_208_000, fetches=20, fetched_bytes=240_000)
    assert copies.words(10) == "copies a frame: 1.50 to the device (6.22 MB), 2.00 from it (24.0 kB)"


class Plain:
    """A backend on the host until it is given a device."""


def test_a_backend_is_on_a_device_from_when_it_says_so() -> None:
    backend = Plain()
    assert on_device(backend) is None  # type: ignore[arg-type]
    backend.device = "cpu"  # type: ignore[attr-defined]
    assert on_device(backend) is backend  # type: ignore[arg-type, comparison-overlap]


def test_models_on_the_host_do_not_import_torch() -> None:
    code = (
        "import sys; import numpy as np; import stream.build; from engines.images import ImageBatch; ImageBatch();"
        "assert not {'torch', 'torchvision'} & set(sys.modules), 'torch was imported'"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
