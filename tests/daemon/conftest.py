from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.controller import Controller
from support.daemon import PATIENT, Gaitd


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the flight recorder writes."""
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def daemon(small_bundle_path: Path) -> Iterator[Gaitd]:
    """One gaitd for a module's tests; each leaves it without a session."""
    with Gaitd(small_bundle_path, config=PATIENT) as gaitd:
        yield gaitd.wait_ready()


@pytest.fixture
def walker(daemon: Gaitd) -> Iterator[Controller]:
    """A controller with a session that has had its first commands."""
    controller = daemon.controller(name="walker")
    controller.activate()
    assert any(controller.walk(3))
    yield controller
    controller.control.ask("release", session=controller.session)
    controller.close()
