"""Which command is meant, and what its errors exit with."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from engines.backends.base import EngineError
from stream.memory import use_few_arenas
from stream.source import StreamError

COMMANDS = ("play", "images", "models", "doctor", "bench", "eval", "train")
"""Each a module of this package with `add_parser` and `run`; `play` is meant where none is named."""
_MODULES = {"eval": "evaluate"}
"""Those named otherwise than their command: Python has an `eval` of its own."""

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 ok, 1 failed, 2 misused, 130 after Ctrl-C, 143 after SIGTERM."""
    use_few_arenas()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        words = ["play", *words]
    parser = argparse.ArgumentParser(prog="run.py", description="Real-time multi-person pose.")
    try:
        # Only the command that is meant is imported: `doctor` must run where another command's libraries are missing.
        command = importlib.import_module(f"stream.cli.{_MODULES.get(words[0], words[0])}")
        command.add_parser(parser.add_subparsers(dest="command", metavar="|".join(COMMANDS)))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = int(command.run(parser.parse_args(words)))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads what is printed has read enough; the work is done. Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, FileExistsError) as error:
        return _fail(error, MISUSED)
    except (OSError, StreamError, EngineError) as error:
        return _fail(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _fail(error: Exception, code: int) -> int:
    text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
    print(f"error: {text}", file=sys.stderr)
    return code
