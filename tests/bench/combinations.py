"""Every clip with every detector and every pose model, through the command line; prints what came of each.

python tests/bench/combinations.py [--seconds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
DETECTORS = ("yolox_nano", "yolox_nano_dynhw", "rtmdet_nano_dyn")
POSES = ("tinypose_256x192_dyn", "tinypose_128x96_dyn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="of each clip; all of it without")
    args = parser.parse_args()
    failed = 0
    for clip in sorted((ASSETS / "video").glob("*.mp4")):
        for detector in DETECTORS:
            for pose in POSES:
                with tempfile.TemporaryDirectory() as folder:
                    records = Path(folder) / "out.jsonl"
                    command = [sys.executable, str(ROOT / "run.py"), "-s", str(clip),
                               "-o", str(Path(folder) / "out.mp4"), "-o", str(records),
                               "--detector", str(ASSETS / "models" / f"{detector}.onnx"),
                               "--pose", str(ASSETS / "models" / f"{pose}.onnx")]  # fmt: skip
                    command += ["--end", str(args.seconds)] if args.seconds else []
                    done = subprocess.run(command, capture_output=True, text=True)
                    rows = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
                people = [len(row["people"]) for row in rows]
                ids = {person["id"] for row in rows for person in row["people"]}
                failed += done.returncode != 0
                print(f"{done.returncode} {clip.name:45} {detector:17} {pose:21} {len(rows):5} frames "
                      f"{sum(people) / max(len(people), 1):5.2f} people {len(ids):3} identities "
                      f"{done.stderr.strip().splitlines()[-1] if done.returncode else ''}", flush=True)  # fmt: skip
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
