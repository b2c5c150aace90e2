"""A backend that misbehaves on command, around a real one."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from gaitd.backends.base import Backend
from gaitd.errors import BackendError
from gaitd.policy.manifest import Float32Array
from gaitd.shared.step_ring import StepRing
from gaitforge.faults.orders import Order, Orders
from gaitforge.faults.shared_memory import GUARD_FILE, write_where_forbidden


class FaultyBackend:
    """Passes every call on to the real backend, unless an order for the next runs says otherwise."""

    def __init__(self, real: Backend, orders: Orders) -> None:
        self._real = real
        self._orders = orders
        self._order: Order = {"kind": "honest"}
        self._left = 0
        self._last = np.zeros(0, np.float32)

    def infer(self, observation: Float32Array) -> Float32Array:
        """The real answer, or what was ordered instead."""
        order = self._orders.take()
        if order is not None:
            self._order, self._left = order, order.get("runs", 2**62)
        if self._left <= 0:
            return self._keep(self._real.infer(observation))
        self._left -= 1
        return self._obey(self._order, observation)

    def commit(self) -> None:
        """Pass it on."""
        self._real.commit()

    def reset(self) -> None:
        """Pass it on."""
        self._real.reset()

    def versions(self) -> dict[str, str]:
        """Pass it on."""
        return self._real.versions()

    def memory(self) -> dict[str, int]:
        """Pass it on."""
        return self._real.memory()

    def close(self) -> None:
        """Pass it on."""
        self._real.close()

    def _keep(self, action: Float32Array) -> Float32Array:
        self._last = action.copy()
        return action

    def _obey(self, order: Order, observation: Float32Array) -> Float32Array:
        kind = order["kind"]
        if kind == "hang":
            _wait(order["seconds"], holding_lock=order["holding_lock"])
        elif kind == "raise":
            raise BackendError("ordered to fail")
        elif kind == "crash":
            CRASHES[order["how"]]()
        elif kind == "die before":
            _die_before(order["what"])
        elif kind == "none":
            return None  # type: ignore[return-value]
        elif kind == "constant":
            return self._last
        elif kind == "value":
            action = self._real.infer(observation)
            action[order.get("joint", slice(None))] = float(order["value"])
            return action
        elif kind == "shape":
            return self._real.infer(observation)[:-1]
        return self._keep(self._real.infer(observation))


def _wait(seconds: float, *, holding_lock: bool) -> None:
    """Wait in C, with or without the interpreter's lock."""
    if not holding_lock:
        time.sleep(seconds)
        return
    libc = ctypes.PyDLL(None)
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        libc.usleep(min(999_999, round(left_s * 1e6) + 1))


def _segfault() -> None:
    ctypes.string_at(0)


CRASHES: dict[str, Callable[[], None]] = {
    "segfault": _segfault,
    "abort": os.abort,
    "exit": lambda: os._exit(7),
    "wild write": partial(write_where_forbidden, GUARD_FILE),
}


def _die_before(what: str) -> None:
    """Be killed at a place of the next step: its record is staged, and the command not sent or not marked; or
    just marked, when it may be no further than a queue of the process itself ("delivery")."""
    stage, mark_sent = StepRing.stage, StepRing.mark_sent

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def stage_and_die(ring: StepRing) -> None:
        stage(ring)
        die()

    def mark_and_die(ring: StepRing, sent_ns: int) -> None:
        mark_sent(ring, sent_ns)
        die()

    if what == "sending":
        StepRing.stage = stage_and_die  # type: ignore[method-assign,assignment]
    elif what == "delivery":
        StepRing.mark_sent = mark_and_die  # type: ignore[method-assign,assignment]
    else:
        StepRing.mark_sent = die  # type: ignore[method-assign,assignment]
