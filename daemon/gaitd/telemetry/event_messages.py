"""Events as the messages that tools for ROS 2 show by themselves, and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from gaitd.shared.events import Event, EventKind
from gaitd.shared.guard_memory import FailoverKind
from gaitd.telemetry.cdr import Layout, TextReader
from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.generated import CauseKind, Mode, Reason

MACHINE = "machine"
SHADOW = "shadow"
"""Names of the diagnostics that say how the machine and a shadow do; of all others it is an EventKind's."""
_OK, _WARN, _ERROR = 0, 1, 2
_ROS_LEVELS = {logging.DEBUG: 10, logging.INFO: 20, logging.WARNING: 30, logging.ERROR: 40}


def diagnostic(at_ns: int, level: int, name: str, text: str, values: Mapping[str, str]) -> bytes:
    """One diagnostic_msgs/DiagnosticArray with one status; ``at_ns`` is Unix time."""
    layout = _stamp(at_ns).text("").count(1).constant("u1", level)
    layout.text(f"gaitd: {name}").text(text).text("").count(len(values))
    for key, value in values.items():
        layout.text(key).text(value)
    return layout.message()


def read_diagnostic(message: bytes) -> tuple[str, str, dict[str, str]]:
    """Name, text and values of such a message. Raises ValueError."""
    reader = TextReader(message)
    reader.number("<i4"), reader.number("<u4"), reader.text(), reader.number("<u4"), reader.number("u1")
    name, text, _ = reader.text(), reader.text(), reader.text()
    return (
        name.removeprefix("gaitd: "),
        text,
        {reader.text(): reader.text() for _ in range(reader.number("<u4"))},
    )


def diagnostic_of(event: Event, joints: Sequence[str], at_ns: int) -> bytes:
    """A change of mode or of workers, a refusal or an error; ``joints`` in the policy's order."""
    cause, level, text = event.cause, _WARN, event.text
    if event.kind is EventKind.MODE:
        mode, reason = Mode(event.code), Reason.received(event.reason)
        level = _ERROR if mode is Mode.DAMPING else _OK
        text = mode.name.lower() + (f", {reason.name.lower()}: {event.text}" if reason else "")
    elif event.kind is EventKind.REFUSAL:
        text = cause.text(joints) + (f": {event.text}" if event.text else "")
    elif event.kind is EventKind.FAILOVER:
        text = f"the standby goes on, {FailoverKind(event.code).name.lower()}: {event.text or '-'}"
    elif event.kind is EventKind.SWITCH:
        level, text = _OK, f"the session goes on with policy {event.text}"
    elif event.kind is EventKind.REHEARSAL:
        text = f"the model took {event.code / 1000:.1f} ms in a rehearsal"
    elif event.kind is EventKind.ERROR:
        level = _ERROR
    values = {
        name: str(int(getattr(event, name)))
        for name in ("at_ns", "session", "epoch", "seq", "code", "reason", "raw")
        if getattr(event, name)
    }
    if cause is not NO_CAUSE:
        values["cause"] = str(int(cause.kind))
        values |= {
            name: repr(value)
            for name in ("joint", "number", "bound")
            if (value := getattr(cause, name)) is not None
        }
    if event.order:
        values["order"] = " ".join(map(str, event.order))
    values |= {name: value for name in ("name", "text") if (value := getattr(event, name))}
    return diagnostic(at_ns, level, event.kind.name.lower(), text, values)


def read_event(name: str, values: Mapping[str, str]) -> Event:
    """The event of such a message. Raises ValueError or KeyError for another one."""
    numbers = {
        key: int(values.get(key, "0")) for key in ("at_ns", "session", "epoch", "seq", "code", "reason")
    }
    cause = NO_CAUSE
    if "cause" in values:
        joint, number, bound = (values.get(key) for key in ("joint", "number", "bound"))
        cause = Cause(
            CauseKind.received(int(values["cause"])),
            None if joint is None else int(joint),
            None if number is None else float(number),
            None if bound is None else float(bound),
        )
    return Event(
        kind=EventKind[name.upper()],
        cause=cause,
        raw=values.get("raw") == "1",
        order=tuple(int(part) for part in values.get("order", "").split()),
        name=values.get("name", ""),
        text=values.get("text", ""),
        **numbers,
    )


def log_line_of(event: Event, at_ns: int) -> bytes:
    """One rcl_interfaces/Log."""
    layout = _stamp(at_ns).constant("u1", _ROS_LEVELS.get(event.code, 20)).text("gaitd").text(event.text)
    return layout.text("").text("").constant("<u4", 0).message()


def read_log_line(message: bytes) -> tuple[int, str]:
    """Level, as in Python's logging, and text. Raises ValueError."""
    reader = TextReader(message)
    reader.number("<i4"), reader.number("<u4")
    level = reader.number("u1")
    reader.text()
    return {ros: code for code, ros in _ROS_LEVELS.items()}.get(level, logging.INFO), reader.text()


def _stamp(at_ns: int) -> Layout:
    return Layout().constant("<i4", at_ns // 1_000_000_000).constant("<u4", at_ns % 1_000_000_000)
