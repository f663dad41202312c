"""What PyAV's FFmpeg reads and writes on this machine, found out by trying where a name alone says too little."""

from __future__ import annotations

from typing import Literal

from stream.cli.finding import INSTALL, Finding

DECODERS = ("h264", "hevc", "av1", "vp9", "mjpeg")
ENCODERS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9")
SOUND = ("aac", "libopus")
GPU_DECODERS = ("h264_cuvid", "hevc_cuvid", "av1_cuvid")
GPU_ENCODERS = ("h264_nvenc", "hevc_nvenc", "av1_nvenc")
CONTAINERS = ("mp4", "mov", "matroska", "webm", "mpegts")
INPUTS = ("rtsp", "hls", "flv", "video4linux2,v4l2", "avfoundation", "dshow", "lavfi")
TESTED_SIZE = (256, 256)
"""Height and width of the picture an encoder is tried with: smaller ones are refused by some GPUs."""

REINSTALL = "pip install --force-reinstall av"


def find_codecs(has_gpu: bool) -> list[Finding]:
    """What PyAV's FFmpeg reads and writes; the encoders that the main job depends on are tried."""
    try:
        import av
    except ImportError as error:
        return [Finding("video", "missing", str(error), INSTALL)]
    decoders = [name for name in DECODERS if _has_codec(name, "r")]
    encoders = [name for name in ENCODERS if _has_codec(name, "w")]
    containers = [name for name in CONTAINERS if name in av.formats_available]
    sound = [name for name in SOUND if _has_codec(name, "w")]
    inputs = [name.rpartition(",")[2] for name in INPUTS if name in av.formats_available]
    fault = _encoder_fault("libx264")
    return [
        _listed("decoders", decoders, needed="h264"),
        Finding("encoders", "missing", f"libx264: {fault}", REINSTALL) if fault else _listed("encoders", encoders),
        *_gpu_codecs(has_gpu),
        _listed("sound", sound),
        _listed("containers", containers, needed="mp4"),
        _listed("live inputs", inputs),
    ]


def _listed(what: str, names: list[str], needed: str = "") -> Finding:
    if needed and needed not in names:
        return Finding(what, "missing", f"no {needed} in this PyAV", REINSTALL)
    return Finding(what, "ok" if names else "-", " ".join(names) or "none in this PyAV")


def _gpu_codecs(has_gpu: bool) -> list[Finding]:
    """NVDEC by name, NVENC by trying: data-centre GPUs have none."""
    built = [name for name in (*GPU_DECODERS, *GPU_ENCODERS) if _has_codec(name, "w" if "enc" in name else "r")]
    if not has_gpu:
        return [Finding("GPU video", "-", f"no NVIDIA GPU; built in: {' '.join(built) or 'none'}")]
    faults = {name: _encoder_fault(name) for name in built if name in GPU_ENCODERS}
    works = [name for name in built if not faults.get(name)]
    broken = [f"{name} ({fault})" for name, fault in faults.items() if fault]
    remedy = "this GPU may have no encoder: keep libx264" if broken else ""
    without = f"; not {', '.join(broken)}" if broken else ""
    return [Finding("GPU video", "ok" if works else "-", (" ".join(works) or "none") + without, remedy)]


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    import av

    try:
        av.Codec(name, mode)
    except ValueError:  # av's UnknownCodecError is one
        return False
    return True


def _encoder_fault(name: str) -> str:
    """Why an encoder cannot encode a picture; empty where it can."""
    import av

    try:
        encoder = av.CodecContext.create(name, "w")
        encoder.height, encoder.width = TESTED_SIZE  # type: ignore[attr-defined]
        encoder.pix_fmt, encoder.framerate = "yuv420p", 25  # type: ignore[attr-defined]
        frame = av.VideoFrame(TESTED_SIZE[1], TESTED_SIZE[0], "yuv420p")
        frame.pts = 0
        written = [*encoder.encode(frame), *encoder.encode(None)]  # type: ignore[attr-defined]
    except (ValueError, OSError) as error:
        return " ".join(str(error).split())
    return "" if written else "it wrote nothing"
