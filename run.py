"""posestream: people found, followed, posed and drawn, from a camera, a file or a stream."""

import sys

from stream.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
