"""The loop that users of rtmlib write, for compare_rtmlib.py, in an environment of its own; prints seconds, frames."""

import sys
import time

import cv2
from rtmlib import YOLOX, ViTPose, draw_skeleton

clip, output, detector_path, pose_path, backend = sys.argv[1:]
detector = YOLOX(detector_path, model_input_size=(416, 416), score_thr=0.4, backend=backend)
# Its class for heat maps; mean and std are those of its default.
pose = ViTPose(pose_path, model_input_size=(192, 256), backend=backend)

capture = cv2.VideoCapture(clip)
size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
writer = cv2.VideoWriter(output, cv2.VideoWriter_fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
frames = 0
begun = time.perf_counter()
while True:
    read, image = capture.read()
    if not read:
        break
    boxes = detector(image)
    if len(boxes):
        keypoints, scores = pose(image, bboxes=boxes)
        image = draw_skeleton(image, keypoints, scores, kpt_thr=0.3)
    writer.write(image)
    frames += 1
writer.release()
print(f"{time.perf_counter() - begun:.4f} {frames}")
