"""One look after the other at a gaitd: its status, its memory and its machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gaitd.ctl.client import ControlClient
from gaitd.ctl.route import Route
from gaitd.ctl.top.inside import Inside, Memory
from gaitd.errors import GaitdError, UnreachableError
from gaitd.telemetry.machine import cooling, read_machine

TIMEOUT_S = 1.0
"""Of a look: a gaitd that hangs must not keep a person from leaving."""
FOR_ROOT = "sudo gaitctl top shows steps, joints and limits as well"
ELSEWHERE = "gaitctl top on the robot itself shows steps, joints, limits and the machine as well"


@dataclass(frozen=True, kw_only=True)
class View:
    """What there is to show."""

    status: Mapping[str, Any]
    """gaitd's newest reply to ``status``."""
    silent_s: float = 0.0
    """How long gaitd has not answered; 0: it does."""
    inside: Inside | None = None
    left_out: str = ""
    """Why there is nothing of its memory, and what to do."""
    machine: Mapping[str, float] = field(default_factory=dict)
    """As gaitd.telemetry.machine names it."""
    cooling: Mapping[str, float] = field(default_factory=dict)
    preempted_per_s: float | None = None
    """How often the holder of the session loses its core, since the look before; None in the first."""


class _Counted(NamedTuple):
    """The preemptions of a process's whole life, at a moment."""

    pid: int = 0
    preemptions: float | None = None
    at_s: float = 0.0

    def rate_since(self, before: _Counted) -> float | None:
        if self.preemptions is None or before.preemptions is None or self.pid != before.pid:
            return None
        return (self.preemptions - before.preemptions) / max(self.at_s - before.at_s, 1e-3)


class Watch:
    """Keeps one connection, and the memory of the gaitd at its other end."""

    def __init__(self, route: Route) -> None:
        self._is_here = route.keys is None
        self._client = ControlClient(route, TIMEOUT_S)
        self._status: Mapping[str, Any] = {}
        self._answered_s = 0.0
        self._memory: Memory | None = None
        self._of_guardian = 0
        self._counted = _Counted()

    def look(self) -> View:
        """Raises UnreachableError only when gaitd has not answered once."""
        silent_s = 0.0
        try:
            self._status = self._client.demand("status")
            self._answered_s = time.monotonic()
        except UnreachableError:
            if not self._status:
                raise
            silent_s = time.monotonic() - self._answered_s
        if not self._is_here:
            return View(status=self._status, silent_s=silent_s, left_out=ELSEWHERE)
        left_out = self._attach()
        inside = None if self._memory is None else self._memory.look(time.monotonic_ns())
        pid = inside.worker_pid if inside is not None else self._status["worker"]["pid"]
        machine = read_machine(pid)
        before = self._counted
        self._counted = now = _Counted(pid, machine.get("preemptions"), time.monotonic())
        return View(
            status=self._status,
            silent_s=silent_s,
            inside=inside,
            left_out=left_out,
            machine=machine,
            cooling=cooling(),
            preempted_per_s=now.rate_since(before),
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _attach(self) -> str:
        """Map the memory of the gaitd that answers, where that is new; returns why there is none.

        It outlives the telemetry process through which it was found.
        """
        guardian, telemetry = self._status["guardian_pid"], self._status.get("telemetry_pid", 0)
        if self._memory is not None and guardian == self._of_guardian:
            return ""
        self._memory = None
        try:
            self._memory = Memory(telemetry)
            self._of_guardian = guardian
        except PermissionError:
            return FOR_ROOT
        except GaitdError as error:
            return str(error)
        return ""
