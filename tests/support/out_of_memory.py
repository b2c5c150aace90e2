"""Modules for whose import there is no memory: how they are told so is the argument."""

import errno
import os
import sys

ERRORS = {
    "python": MemoryError(),
    "system": OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), "zmq"),
    "loader": ImportError("_random.so: failed to map segment from shared object"),
    "other": ImportError("cannot import name 'this'"),
}

raise ERRORS[sys.argv[1]]
