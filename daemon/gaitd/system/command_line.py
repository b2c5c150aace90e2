"""How a command of gaitd ends: its exit code, and one line for the person who must act."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from gaitd.errors import GaitdError, printable

MAX_ERROR_CHARACTERS = 4000
"""An error may quote names from a bundle or a peer: it stays one line, and not a long one."""


def run_command(program: str, command: Callable[[], int]) -> int:
    """Run a command and return its exit code (gaitd.errors).

    A reader that has seen enough, such as ``head``, ends it without a word, as it would any other program.
    """
    try:
        code = command()
        sys.stdout.flush()
    except GaitdError as error:
        print(f"{program}: error: {printable(str(error), MAX_ERROR_CHARACTERS)}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more at its end
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return code
