"""Whether there is to be a standby on this robot, and why. Pure: what was found comes in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gaitd.backends import BackendName
from gaitd.bundle import Bundle
from gaitd.bundle.failovers import failovers_walked
from gaitd.system.config import Config

MEMORY_BYTES = 400 * 1024 * 1024
"""Of all of gaitd with a standby: 250 MB without one, half of which is the worker, and some to spare."""


class StandbyChoice(NamedTuple):
    """What was decided when gaitd started."""

    on: bool
    why: str
    """For people."""

    @property
    def text(self) -> str:
        """Both, in one line."""
        return f"{'on' if self.on else 'off'}: {self.why}"


def choose_standby(
    config: Config,
    bundle: Bundle,
    backends: Sequence[BackendName],
    *,
    has_onnx: bool,
    memory_bytes: int | None,
) -> StandbyChoice:
    """As ``standby.mode`` wants it; with auto, wherever nothing stands against it.

    ``backends``: of the worker, the first one first. ``has_onnx``: its runtime is installed.
    ``memory_bytes``: what all of gaitd may take here; None: that is not known.
    """
    mode = config.standby.mode
    if mode != "auto":
        return StandbyChoice(mode == "on", f'standby.mode is "{mode}"')
    for why in _obstacles(config, bundle, backends, has_onnx, memory_bytes):
        return StandbyChoice(False, why)
    walked = failovers_walked(bundle)
    return StandbyChoice(walked.passed, walked.found)


def _obstacles(
    config: Config,
    bundle: Bundle,
    backends: Sequence[BackendName],
    has_onnx: bool,
    memory_bytes: int | None,
) -> Iterator[str]:
    if backends[0] == "onnx":
        yield "the worker itself runs on the CPU"
    if not bundle.has("model.onnx"):
        yield "the bundle has no model.onnx for the CPU"
    if not has_onnx:
        yield "onnxruntime is not installed"
    if config.daemon.rehearsal:
        yield "daemon.rehearsal is on: the robot would walk through what is to end the walk"
    if clash := config.standby_clash():
        yield clash
    if memory_bytes is not None and memory_bytes < MEMORY_BYTES:
        yield (
            f"{memory_bytes >> 20} MiB of memory are left for gaitd, with a standby it may need "
            f"{MEMORY_BYTES >> 20}"
        )
