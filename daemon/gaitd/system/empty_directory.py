"""A working directory without files, for code that may open what a file from elsewhere names."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def empty_working_directory() -> Iterator[None]:
    """Work in an empty directory for a while; for the whole process, so before it has other threads.

    A second line of defence: where no directory can be made, it is left out.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="gaitd-"))
            back = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, back)
            stack.callback(os.fchdir, back)
            os.chdir(place)
        yield
