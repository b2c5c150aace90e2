"""How a command of gaitd begins and ends: its exit code, and one line for the person who must act."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable

import zmq

from gaitd.errors import GaitdError, ResourceError, printable

MAX_ERROR_CHARACTERS = 4000
"""An error may quote names from a bundle or a peer: it stays one line, and not a long one."""


def run_command(program: str, command: Callable[[], int]) -> int:
    """Run a command and return its exit code (gaitd.errors).

    A reader that has seen enough, such as ``head``, ends it without a word, as it would any other program.
    """
    open_standard_descriptors()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal's encoding may lack a bundle's letters
    try:
        code = command()
        sys.stdout.flush()
    except GaitdError as error:
        return _end(program, error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more at its end
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (OSError, zmq.ZMQError) as error:
        return _end(program, refused_by_system(error))
    return code


def refused_by_system(error: OSError | zmq.ZMQError) -> ResourceError:
    """What the system refused, as one line."""
    name = getattr(error, "filename", None)
    where = f"{name}: " if name else ""
    return ResourceError(f"{where}{error.strerror or error}; the system refused it, try again")


def open_standard_descriptors() -> None:
    """Open /dev/null on each of 0, 1 and 2 that is closed.

    Else the next file or socket takes the number, and whatever is printed, also by a child process, is
    written into it.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest that is free is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python has none for what was closed when it began.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _end(program: str, error: GaitdError) -> int:
    print(f"{program}: error: {printable(str(error), MAX_ERROR_CHARACTERS)}", file=sys.stderr)
    return error.exit_code
