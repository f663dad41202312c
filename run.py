"""posestream: people found, followed, posed and drawn, from a camera, a file or a stream."""

import os
import signal
import sys

if __name__ == "__main__":
    # The imports take half a second, in which Ctrl-C should end the program as it does later, without a traceback.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

from stream.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
