"""pytest puts this directory on sys.path because of this file: `support` is importable everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from gaitd.bundle.read import Bundle, open_bundle
from support.bundles import write_small_bundle

pytest_plugins = ["support.skips"]

# The machine that runs the tests may be busy: an example may take its time.
settings.register_profile("gaitd", deadline=None)
settings.load_profile("gaitd")


TIMED = (
    *("cpp", "ctl", "daemon", "guardian", "shared", "system", "target", "telemetry", "worker"),
    *("forge/chain", "forge/faults", "forge/stack"),
)
"""Directories whose tests run real processes against the clock: never two of them at a time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two lanes: what keeps time runs in one, the rest file by file in the other."""
    for item in items:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        timed = path.startswith(tuple(f"{directory}/" for directory in TIMED))
        item.add_marker(pytest.mark.xdist_group("timed" if timed else path))


@pytest.fixture(scope="session")
def small_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of three joints; nobody writes to it."""
    return write_small_bundle(tmp_path_factory.mktemp("bundle") / "small.gaitd")


@pytest.fixture(scope="session")
def small_bundle(small_bundle_path: Path) -> Bundle:
    return open_bundle(small_bundle_path)
