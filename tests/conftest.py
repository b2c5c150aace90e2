"""pytest puts this directory on sys.path because of this file: `support` is importable everywhere."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from hypothesis import settings

from gaitd.bundle.read import Bundle, open_bundle
from support.bundles import write_small_bundle

# A context that a failed test leaves behind would wait for its sockets when another test has it collected.
zmq.Context.__del__ = lambda self: None  # type: ignore[method-assign]

pytest_plugins = ["support.lanes", "support.skips", "support.stalls"]

# For the processes that tests start.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
)

# Under nohup the programs under test would inherit that they are to ignore it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Tests that build many guardians in one process hold their memory files to its end.
_SOFT, _HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(_SOFT, min(_HARD, 8192)), _HARD))

# The machine that runs the tests may be busy: an example may take its time.
settings.register_profile("gaitd", deadline=None)
settings.load_profile("gaitd")


@pytest.fixture(autouse=True)
def _floating_point_as_it_was() -> Iterator[None]:
    """A session of onnxruntime makes its thread flush subnormal numbers; the next test may want them."""
    yield
    default = ctypes.c_void_p(-1)  # FE_DFL_ENV of glibc
    ctypes.CDLL("libm.so.6").fesetenv(default)


@pytest.fixture(scope="session")
def small_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of three joints; nobody writes to it."""
    return write_small_bundle(tmp_path_factory.mktemp("bundle") / "small.gaitd")


@pytest.fixture(scope="session")
def small_bundle(small_bundle_path: Path) -> Bundle:
    return open_bundle(small_bundle_path)
