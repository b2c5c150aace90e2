"""What tripped, as one kind with its numbers. Pure: a recording's facts in, a verdict out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaitd.ctl.explain.facts import Facts
from gaitd.shared.events import Event, EventKind
from gaitd.shared.guard_memory import FailoverKind
from gaitd.telemetry.files import GUARDIAN_DIED, LOST, REQUEST, SHIFT
from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.generated import CAUSE_UNITS, CauseKind, Reason

_HUNG = re.compile(r"inference has been running for (\d+) ms")
_STOPPED = re.compile(r"the worker has not moved for (\d+) ms")
_UNHEARD = re.compile(r"nothing has got through the guardian's own sockets for (\d+) ms")
_STOOD_STILL = "the controller's loop stood still"
_HOW = re.compile(r"died how=(?:\"([^\"]*)\"|(\S+))")
_LONG_INFERENCE = 0.5
"""Of the deadline: an inference that took so long explains a command that did not come."""
_SLOW_PERIODS = 0.9
_SLOW_WITHIN_S = 0.5
"""Inferences that ended so shortly before the damping, or after it."""
_UNSEEN_DEADLINES = 3.0
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL")


@dataclass(frozen=True)
class Verdict:
    """What tripped."""

    kind: str
    """A key of gaitd.ctl.explain.words.kinds.KINDS."""
    reason: str = "none"
    """The contract's reason, in lower case."""
    values: dict[str, Any] = field(default_factory=dict)
    """What the text names: ``joint``, ``number``, ``bound``, ``unit``, ``ms``, ``text``."""


def judge(facts: Facts) -> Verdict:
    """The verdict on a recording."""
    info, damping = facts.recording.info, facts.damping
    if info.cause == GUARDIAN_DIED:
        return Verdict("guardian_died")
    if info.cause == LOST:
        text = next((e.text for e in facts.recording.events if e.kind is EventKind.ERROR), "")
        return Verdict("gaitd_killed", values={"text": text})
    if facts.failover is not None:
        return _of_failover(facts, facts.failover)
    if damping is None and info.cause in (REQUEST, SHIFT):
        return Verdict("no_damping")
    if damping is None:
        return Verdict("not_in_file", info.cause, {"reason": info.cause})
    reason = Reason.received(damping.reason)
    found = _by_reason(facts, damping, reason)
    return Verdict(found.kind, reason.name.lower(), found.values)


def _by_reason(facts: Facts, damping: Event, reason: Reason) -> Verdict:
    if reason is Reason.OPERATOR:
        return Verdict("operator", values={"text": damping.text})
    if reason is Reason.SHUTDOWN:
        return Verdict("shutdown")
    if reason is Reason.WORKER_DIED:
        return _worker_died(facts, damping)
    if damping.cause is not NO_CAUSE:
        return _of_cause(facts, damping.cause, damping.text)
    if reason in (Reason.DEADLINE, Reason.STATE_LOST, Reason.CLIENT_DEADLINE):
        return _of_silence(facts, damping, reason)
    return Verdict("unknown", values={"text": damping.text})


def _of_failover(facts: Facts, failover: Event) -> Verdict:
    """What was wrong with the worker; the robot walks."""
    if failover.code == FailoverKind.DIED:
        return _worker_died(facts, failover)
    if failover.code == FailoverKind.ERRORS and facts.refusals:
        newest = facts.refusals[-1]
        return _of_cause(facts, newest.cause, newest.text)
    return _of_silence(facts, failover, Reason.DEADLINE)


def _of_cause(facts: Facts, cause: Cause, text: str) -> Verdict:
    joints = facts.recording.info.joints
    values: dict[str, Any] = {"unit": CAUSE_UNITS.get(cause.kind, "")}
    if cause.joint is not None and cause.joint < len(joints):
        values["joint"] = joints[cause.joint]
    values |= {"number": cause.number, "bound": cause.bound}
    if cause.kind is CauseKind.BACKEND_ERROR:
        newest = [event.text for event in facts.refusals if event.text]
        values["text"] = newest[-1] if newest else text
    if cause.kind is CauseKind.OLD and (slow := _slow_inference(facts)):
        return slow
    return Verdict(cause.kind.name.lower(), values=values)


def _worker_died(facts: Facts, death: Event) -> Verdict:
    errors = [
        e for e in facts.recording.events if e.kind is EventKind.ERROR and abs(facts.second(e.at_ns)) < 2
    ]
    if errors:
        return Verdict("worker_error", values={"text": errors[-1].text})
    how = death.text
    for event in facts.lines(f"{facts.holder} died how=", -0.5)[:1]:
        match = _HOW.search(event.text)
        how = (match[1] or match[2]) if match else how
    if any(name in how for name in _CRASHES):
        return Verdict("worker_crashed", values={"text": how})
    return Verdict(
        "worker_killed" if "killed by" in how else "worker_ended", values={"text": how or "no trace of how"}
    )


def _of_silence(facts: Facts, occasion: Event, reason: Reason) -> Verdict:
    text = occasion.text
    if match := _UNHEARD.search(text):
        return Verdict("gaitd_unheard", values={"ms": float(match[1])})
    if _STOOD_STILL in text and facts.silence_before_s() > facts.deadline_s / 2:
        return Verdict("controller_stood_still")  # else its states went on: its watchdog was first to say so
    if (silence := _unseen_silence(facts)) > 0:
        return Verdict("guardian_stopped", values={"ms": silence * 1e3})
    if match := _HUNG.search(text):
        return _slow_inference(facts) or Verdict("inference_hung", values={"ms": float(match[1])})
    if withheld := _withheld_before(facts):
        return Verdict("guardian_stopped", values={"ms": withheld * 1e3})
    if long := _long_inference(facts):
        return _slow_inference(facts) or Verdict("inference_hung", values={"ms": long * 1e3})
    if match := _STOPPED.search(text):
        return Verdict("worker_stopped", values={"ms": float(match[1])})
    if slow := _slow_inference(facts):
        return slow
    if stuck := _stuck_on_the_way(facts):
        return Verdict("states_delayed", values={"ms": stuck * 1e3})
    if reason is Reason.STATE_LOST:
        return Verdict("state_lost", values={"ms": facts.silence_before_s() * 1e3})
    if reason is Reason.CLIENT_DEADLINE:
        return Verdict("commands_lost", values={"ms": -facts.last_command_s() * 1e3})
    return Verdict("unknown", values={"text": text})


def _unseen_silence(facts: Facts) -> float:
    """How long no command went out before the guardian noticed, s, where that is far too long; else 0.

    It looks four times in a period, so it was not there to look.
    """
    silence = -facts.last_command_s()
    return silence if _UNSEEN_DEADLINES * facts.deadline_s < silence < float("inf") else 0.0


def _withheld_before(facts: Facts) -> float:
    """How long answers had been ready and not permitted when the guardian said so; 0 when they were not."""
    withheld = ~facts.sent & (facts.steps["cause"] == 0) & (facts.begun < -facts.period_s / 2)
    withheld &= facts.begun > -facts.deadline_s * 20
    return float(-facts.begun[withheld][0]) if np.count_nonzero(withheld) >= 2 else 0.0


def _long_inference(facts: Facts) -> float:
    """The longest inference around the damping, s, if it is long enough to explain it; else 0."""
    ended = facts.seconds(facts.steps["infer_end_ns"])
    near = (ended > -2 * facts.deadline_s) & (facts.begun < 0)
    lasted = [*facts.inference_s[near].tolist(), *facts.long_rehearsals(-2 * facts.deadline_s)]
    longest = max(lasted, default=0.0)
    return longest if longest > _LONG_INFERENCE * facts.deadline_s else 0.0


def _slow_inference(facts: Facts) -> Verdict | None:
    """Several inferences in a row that took longer than a period, where they did not before."""
    ended = facts.seconds(facts.steps["infer_end_ns"])
    near = (ended > -_SLOW_WITHIN_S) & (facts.begun < 0)
    slow = facts.inference_s[near] > _SLOW_PERIODS * facts.period_s
    if np.count_nonzero(slow[-4:]) < 2:
        return None
    usual = facts.inference_s[facts.before & ~near]
    values = {"ms": float(np.median(facts.inference_s[near][slow])) * 1e3}
    values["usual_ms"] = float(np.median(usual)) * 1e3 if len(usual) else float("nan")
    return Verdict("inference_slow", values=values)


def _stuck_on_the_way(facts: Facts) -> float:
    """How late states arrived that had been sampled before the damping, s; 0 when none did."""
    recording = facts.recording
    late = recording.frames[(facts.received > -0.1) & (facts.received < 2.5)]
    stamps = facts.stamps_ns[(facts.received > -0.1) & (facts.received < 2.5)]
    delays = (late["received_ns"].astype(np.int64) - stamps) / 1e9
    sampled_before = (stamps != 0) & (stamps < facts.zero_ns)
    longest = float(delays[sampled_before].max(initial=0.0))
    return longest if longest > facts.deadline_s / 2 else 0.0
