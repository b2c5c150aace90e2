"""What people hear of the guardian: log lines at each change, and one line of service status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gaitd.guardian.rules import GuardState
from gaitd.system.log import log
from gaitd.wire.generated import Mode


def log_mode(state: GuardState, joints: Sequence[str]) -> None:
    """One line for a change of mode."""
    say = log.warning if state.mode is Mode.DAMPING else log.info
    say(
        "mode",
        mode=state.mode.name.lower(),
        reason=state.reason.name.lower(),
        session=state.session,
        detail=state.explanation(joints) or "-",
    )


def log_missing_realtime(process: str, missing: Mapping[str, str]) -> None:
    """One line for each real-time setting that is not available, with the fix."""
    for name, detail in missing.items():
        log.warning("real-time setting not available", process=process, setting=name, detail=detail)


def log_degradation(text: str) -> None:
    """Late answers, while the robot still walks."""
    log.warning("LATE COMMANDS", detail=text)


def log_fallback(now: str, why: str) -> None:
    """The one warning that the first backend does not work."""
    log.warning("POLICY RUNS ON THE CPU until gaitd restarts", backend=now, why=why)


def status_line(state: GuardState, joints: Sequence[str], starting: int, running: str) -> str:
    """For `systemctl status`. ``starting``: which start of the worker is under way, 0: ready."""
    text = state.mode.name
    if state.mode is Mode.DAMPING:
        text += f" because of {state.reason.name.lower()} ({state.explanation(joints)})"
    if starting:
        text += f"; worker not ready (start {starting})"
    return f"{text}; {running}"
