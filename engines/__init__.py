"""People and their poses from pictures: detectors, pose estimators and the backends that run them."""
