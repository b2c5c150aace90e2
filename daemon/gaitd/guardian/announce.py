"""What people hear of the guardian: log lines at each change, and one line of service status."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import gaitd
from gaitd.bundle import Bundle
from gaitd.guardian.rules import GuardState
from gaitd.shared.events import Event, EventKind
from gaitd.shared.guard_memory import FailoverKind, SessionSetup
from gaitd.shared.processes import policy_in
from gaitd.system.log import log
from gaitd.wire.causes import NO_CAUSE
from gaitd.wire.generated import MAX_STATE_RATE, Mode

RATE_TOLERANCE = MAX_STATE_RATE - 1.0
"""States may come so much too fast or too slow before anybody is told."""


class RateWatch:
    """Says it once a session when the controller does not keep the policy's control period."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._said_of_epoch = 0

    def look(self, epoch: int, interval_ns: int) -> None:
        """``interval_ns``: how far apart the states of the session are sampled; 0 while unknown."""
        if not interval_ns or epoch == self._said_of_epoch:
            return
        factor = interval_ns / self._period_ns
        if abs(factor - 1.0) <= RATE_TOLERANCE:
            return
        self._said_of_epoch = epoch
        log.warning(
            "the controller does not keep the policy's control period",
            state_interval_ms=round(interval_ns / 1e6, 2),
            control_period_ms=self._period_ns / 1e6,
            rate=f"{1.0 / factor:.2f}",
        )


class LastWorker:
    """Says it when the robot walks and no other worker could go on for the one that it walks on."""

    def __init__(self) -> None:
        self.why = ""
        """Empty: another one could, or nobody walks."""

    def look(self, state: GuardState, why: str) -> bool:
        """``why``: as gaitd.guardian.readiness.why_alone has it. Whether it has changed."""
        before, self.why = self.why, why
        if why and not before:
            log.warning("ON THE LAST WORKER", why=why, session=state.session)
        elif before and not why and state.mode is Mode.ACTIVE:
            log.info("NO LONGER ON THE LAST WORKER", before=before, session=state.session)
        return why != before


def log_failover(state: GuardState, kind: FailoverKind, pid: int) -> None:
    """The robot walks on."""
    log.warning(
        "THE STANDBY HAS TAKEN OVER",
        because=kind.name.lower(),
        detail=state.moved_why or "-",
        pid=pid,
        session=state.session,
        holder=f"worker-{state.slot}",
    )


def failover_event(state: GuardState, kind: FailoverKind, setup: SessionSetup) -> Event:
    """The same for the flight recorder, with what the messages under the new epoch are to be read by."""
    return Event(
        at_ns=state.moved_ns,
        kind=EventKind.FAILOVER,
        session=state.session,
        epoch=state.epoch,
        code=kind,
        raw=setup.raw,
        order=setup.policy_from_controller.tolist(),
        text=state.moved_why,
    )


def log_switch(state: GuardState, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """The robot walks on, with another policy."""
    log.info(
        "the session goes on with another policy",
        policy=after["name"],
        policy_id=after["id"],
        before=before["name"],
        session=state.session,
        holder=f"worker-{state.slot}",
    )


def log_undone_switch(state: GuardState, wanted: Mapping[str, str], why: str) -> None:
    """The robot walks on, with the policy that it was to leave."""
    log.warning(
        "THE POLICY WAS NOT CHANGED",
        because=why,
        policy=wanted["name"],
        session=state.session,
        holder=f"worker-{state.slot}",
    )


def switch_event(
    state: GuardState, setup: SessionSetup, title: Mapping[str, str], blend_steps: int, now_ns: int
) -> Event:
    """The same for the flight recorder."""
    return Event(
        at_ns=now_ns,
        kind=EventKind.SWITCH,
        session=state.session,
        epoch=state.epoch,
        seq=blend_steps,
        code=policy_in(state.slot),
        raw=setup.raw,
        order=setup.policy_from_controller.tolist(),
        text=f"{title['name']} {title['version']} ({title['id']})",
    )


def failed_over(state: GuardState, worker_ready: bool) -> str:
    """When and why the standby took over, and how its predecessor's successor is."""
    moved_s = time.time() - (time.monotonic_ns() - state.moved_ns) / 1e9
    at = time.strftime("%H:%M:%S UTC", time.gmtime(moved_s))  # local time may read a file
    fresh = "ready" if worker_ready else "not ready yet"
    return (
        f"the standby (CPU) took over at {at}, because: {state.moved_why or 'the worker died'}; "
        f"a fresh worker is {fresh}, for the next session"
    )


def log_start(bundle: Bundle, backend: str, standby: str) -> None:
    """One line at the start: which gaitd runs what, and whether with a standby."""
    manifest = bundle.manifest
    log.info(
        "gaitd starts",
        version=gaitd.__version__,
        policy=manifest.name,
        policy_version=manifest.version,
        policy_id=bundle.policy_id,
        backend=backend,
        standby=standby,
    )


def log_mode(state: GuardState, joints: Sequence[str], controller: str, policy_id: str, slot: int) -> None:
    """One line for a change of mode. ``controller``: the name of whose session it is or was.

    ``slot``: of the worker whose commands count in an ACTIVE session.
    """
    say = log.warning if state.mode is Mode.DAMPING else log.info
    cause = state.cause
    numbers = {
        "cause": None if cause is NO_CAUSE else cause.kind.name.lower(),
        "joint": None if cause.joint is None else joints[cause.joint],
        "number": None if cause.number is None else f"{cause.number:.6g}",
        "bound": None if cause.bound is None else f"{cause.bound:.6g}",
    }
    say(
        "mode",
        mode=state.mode.name.lower(),
        reason=state.reason.name.lower(),
        session=state.session,
        controller=controller or "-",
        policy=policy_id,
        holder=f"worker-{slot}" if state.mode is Mode.ACTIVE else "-",
        detail=state.explanation(joints) or "-",
        **{name: value for name, value in numbers.items() if value is not None},
    )


def log_missing_realtime(process: str, missing: Mapping[str, str]) -> None:
    """One line for each real-time setting that is not available, with the fix."""
    for name, detail in missing.items():
        log.warning("real-time setting not available", process=process, setting=name, detail=detail)


def mode_event(state: GuardState, joints: Sequence[str], controller: str, setup: SessionSetup) -> Event:
    """The same for the flight recorder, with what its messages are to be read by."""
    ours = setup if setup.session == state.session != 0 else None
    return Event(
        at_ns=state.since_ns,
        kind=EventKind.MODE,
        session=state.session,
        epoch=state.epoch,
        code=state.mode,
        reason=state.reason,
        cause=state.cause,
        raw=ours is not None and ours.raw,
        order=() if ours is None else ours.policy_from_controller.tolist(),
        name=controller,
        text=state.explanation(joints),
    )


def log_degradation(text: str) -> None:
    """Late answers, while the robot still walks."""
    log.warning("LATE COMMANDS", detail=text)


def log_fallback(now: str, why: str) -> None:
    """The one warning that the first backend does not work."""
    log.warning("POLICY RUNS ON THE CPU until gaitd restarts", backend=now, why=why)


def log_rehearsal() -> None:
    """That errors can be ordered."""
    log.warning("SET UP FOR A REHEARSAL, not for walking", setting="daemon.rehearsal")


def status_line(state: GuardState, joints: Sequence[str], starting: int, running: str) -> str:
    """For `systemctl status`. ``starting``: which start of the worker is under way, 0: ready."""
    text = state.mode.name
    if state.mode is Mode.DAMPING:
        text += f" because of {state.reason.name.lower()} ({state.explanation(joints)})"
    if starting:
        text += f"; worker not ready (start {starting})"
    return f"{text}; {running}"
