"""How a command of gaitd begins and ends: its exit code, and one line for the person who must act."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable

import zmq

from gaitd.errors import GaitdError, InputError, ResourceError, printable

MAX_ERROR_CHARACTERS = 4000
"""An error may quote names from a bundle or a peer: it stays one line, and not a long one."""


def run_command(program: str, command: Callable[[], int]) -> int:
    """Run a command and return its exit code (gaitd.errors).

    A reader that has seen enough, such as ``head``, ends it without a word, as it would any other program.
    What could not be printed for another cause is an error, unless the command ended with one of its own.
    """
    open_standard_descriptors()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal's encoding may lack a bundle's letters
    code = 0
    failure: GaitdError | OSError | zmq.ZMQError | None = None
    try:
        code = command()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except (GaitdError, OSError, zmq.ZMQError) as error:
        failure = error
    except UnicodeEncodeError as error:
        text = error.object.encode(errors="backslashreplace").decode()
        failure = InputError(f"{text[:100]}: not UTF-8; write it in UTF-8")
    except MemoryError as error:
        failure = refused_by_system(error)
    unprinted = _flush()
    if isinstance(failure, GaitdError):
        return _end(program, failure)
    if isinstance(failure or unprinted, BrokenPipeError):
        return code or 128 + signal.SIGPIPE
    if unprinted is not None:
        lost = ResourceError(f"standard output: {unprinted.strerror}; not all was printed")
        return code or _end(program, lost)
    return code if failure is None else _end(program, refused_by_system(failure))


def confirm(text: str) -> None:
    """Print what has been done; where standard output does not take it, on standard error.

    The exit code stays that of what was done.
    """
    try:
        print(text, flush=True)
    except OSError:
        _discard(1)
        _flush()  # what it may still hold
        os.dup2(2, 1)
        try:
            print(text, flush=True)
        except OSError:
            _discard(1)


def tell(text: str) -> None:
    """Print a line on standard error, if that takes it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _discard(2)


def refused_by_system(error: OSError | zmq.ZMQError | MemoryError) -> ResourceError:
    """What the system refused, as one line."""
    if isinstance(error, MemoryError):
        return ResourceError("out of memory; end other programs or raise the limit, then try again")
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


def _flush() -> OSError | None:
    """Have standard output written; returns why it cannot be, and gives up what is not."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard(1)
        return error
    return None


def _discard(fd: int) -> None:
    """What is not written yet goes nowhere: Python tries once more at its end, and would end with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


def _end(program: str, error: GaitdError) -> int:
    tell(f"{program}: error: {printable(str(error), MAX_ERROR_CHARACTERS)}")
    return error.exit_code
