"""Makes the environment of rknn-toolkit2 and tries it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from gaitforge.common import console
from gaitforge.rknn import environment
from gaitforge.rknn.toolkit import Toolkit


@dataclass(frozen=True)
class Ready:
    """An environment in which the toolkit runs."""

    root: Path
    versions: dict[str, str]
    """By package."""
    size_bytes: int


def set_up(venv: Path | None, python: str, *, force: bool = False) -> Ready:
    """Make the environment unless it is complete, and ask the toolkit for its versions.

    Raises InputError, or BackendError when it cannot be made or the toolkit does not start.
    """
    root = environment.location(venv)
    if force or not environment.is_ready(root):
        environment.create(root, python)
    with (
        tempfile.TemporaryDirectory() as directory,
        console.step("Starting the toolkit"),
        Toolkit(Path(directory) / "log", root) as toolkit,
    ):
        versions = toolkit.versions()
    return Ready(root, versions, environment.size_bytes(root))
