"""What one step of a rehearsal measured, the verdict on it, and the table of all. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gaitd.ctl.rehearse.scene import Account, Session
from gaitd.ctl.rehearse.steps import STEPS, Step
from gaitd.wire.generated import Reason

FORMAT = "gaitd rehearsal 1"
LOOP_NS = 500_000
"""The controller's times are those of its loop, which does not come round to the nanosecond."""
OK, FAIL, SKIPPED, NOT_RUN = "ok", "FAIL", "skipped", "not run"


@dataclass(frozen=True)
class Row:
    """One row of the fault table."""

    fault: str
    verdict: str
    """ok, FAIL, skipped or not run."""
    bound: str
    measured: str = ""
    """For people: times, reason."""
    reason: str = ""
    """That the controller gave."""
    from_fault_ms: float | None = None
    """From the injection to damping at the controller; None where a person caused it."""
    from_command_ms: float | None = None
    """From the last fresh command to damping, at the controller."""
    periods: float | None = None
    """That of the two which the bound is about, in control periods."""
    ready_s: float | None = None
    """From the injection until gaitd could begin a session again, where it could not at once."""
    why: list[str] = field(default_factory=list)
    """What is not as it should be."""

    def as_map(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def bound_of(step: Step, session: Session) -> tuple[float, str]:
    """In control periods, and for people."""
    deadline = session.deadline_ns / session.period_ns
    periods = deadline if step.bound_periods is None else min(step.bound_periods, deadline)
    return periods, f"{periods:g} T from the {step.since}"


def judge(
    step: Step,
    session: Session,
    injected_ns: int,
    account: Account | None,
    walks: bool,
    ready_s: float | None = None,
) -> Row:
    """The row of a step.

    ``injected_ns``: CLOCK_MONOTONIC, 0 when a person caused it; ``account``: None when the controller told
    nothing of this session; ``walks``: the policy still moves the robot in it.
    """
    bound, bound_text = bound_of(step, session)
    if account is None:
        missing = "no damping: the policy went on" if walks else "the controller did not tell that it damped"
        return Row(step.fault, FAIL, bound_text, missing, ready_s=ready_s, why=[missing])
    why = []
    # A command from before the fault, for a controller that was being driven.
    if account.command_ns == 0:
        why.append("no command was in force before")
    elif injected_ns and account.command_ns < injected_ns - session.deadline_ns:
        why.append("commands had ended before the fault")
    if injected_ns and account.damped_ns < injected_ns:
        why.append("damping came before the fault")
    from_command_ns = account.damped_ns - account.command_ns
    from_fault_ns = account.damped_ns - injected_ns
    took_ns = from_fault_ns if step.since == "fault" else from_command_ns
    reason = _name(account.reason)
    if took_ns - LOOP_NS > bound * session.period_ns:
        why.append(f"{took_ns / session.period_ns:.1f} T instead of {bound:g}")
    if account.reason not in step.reasons:
        expected = " or ".join(sorted(_name(each) for each in step.reasons))
        why.append(f"the reason is {reason}, expected {expected}")
    from_fault_ms = round(from_fault_ns / 1e6, 2) if injected_ns else None
    return Row(
        fault=step.fault,
        verdict=FAIL if why else OK,
        bound=bound_text,
        measured=_measured(from_command_ns / session.period_ns, from_fault_ms, reason),
        reason=reason,
        from_fault_ms=from_fault_ms,
        from_command_ms=round(from_command_ns / 1e6, 2),
        periods=round(took_ns / session.period_ns, 2),
        ready_s=ready_s,
        why=why,
    )


def left_out(step: Step, session: Session, verdict: str, why: str) -> Row:
    """The row of a step that was not measured."""
    return Row(step.fault, verdict, bound_of(step, session)[1], why, why=[why])


def steps_for(session: Session) -> list[Step]:
    """Those that this gaitd is set up for."""
    return [step for step in STEPS if session.rehearsal or not step.needs_setting]


def as_table(session: Session, made: str, gaitd: str, rows: Sequence[Row]) -> dict[str, Any]:
    """All of it, as it is written; steps without a row were not run."""
    status = session.status
    steps = steps_for(session)
    missing = [left_out(step, session, NOT_RUN, "ended before it") for step in steps[len(rows) :]]
    return {
        "format": FORMAT,
        "made": made,
        "gaitd": gaitd,
        "controller": session.controller,
        "simulated": session.simulated,
        "watched": session.watched,
        "policy": status["policy"],
        "backend": status["worker"]["backend"],
        "missing_realtime": status["missing_realtime"],
        "left_out": [] if session.rehearsal else [step.fault for step in STEPS if step.needs_setting],
        "period_ms": session.period_ns / 1e6,
        "deadline_ms": session.deadline_ns / 1e6,
        "rows": [row.as_map() for row in (*rows, *missing)],
    }


def in_words(table: dict[str, Any]) -> str:
    """The table as text, 80 columns."""
    lines = [f"{'damping after':>48}", f"{'':28} {'fault':>10} {'command':>9}  {'bound':20} verdict"]
    for row in table["rows"]:
        lines.append(
            f"{row['fault']:28} {_ms(row['from_fault_ms']):>10} {_command(row, table):>9}  "
            f"{row['bound']:20} {row['verdict']}"
        )
        lines += [f"  {text}" for text in row["why"]]
    return "\n".join([*lines, "", *notes(table)])


def notes(table: dict[str, Any]) -> list[str]:
    """What holds for the whole table."""
    robot = "a simulated robot" if table["simulated"] else "the robot"
    policy = table["policy"]
    lines = [
        f"{robot}, controller {table['controller']}, gaitd {table['gaitd']}, {table['made']}",
        f"policy {policy['name']} {policy['version']} on {table['backend']}; "
        f"T = {table['period_ms']:g} ms, deadline {table['deadline_ms']:g} ms",
        "times are the controller's own: to its first damping, from the fault and from",
        "the last command that came into force",
    ]
    if not table["watched"]:
        lines.append("the controller has no watchdog for its loop (Client::watch)")
    for fault in table["left_out"]:
        lines.append(f"not in it, since daemon.rehearsal is off: {fault}")
    if any(table["missing_realtime"].values()):
        lines.append("real time is not as configured: sudo gaitctl doctor says why")
    return lines


def bad_rows(table: dict[str, Any]) -> list[str]:
    """The faults whose rows are not within their bounds, or not measured."""
    return [row["fault"] for row in table["rows"] if row["verdict"] != OK]


def _name(reason: int) -> str:
    try:
        return Reason(reason).name.lower()
    except ValueError:
        return f"reason {reason}"


def _measured(command_periods: float, from_fault_ms: float | None, reason: str) -> str:
    fault = "" if from_fault_ms is None else f", {from_fault_ms:.1f} ms from the fault"
    return f"{command_periods:.2f} T from the last command{fault}: {reason}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _command(row: dict[str, Any], table: dict[str, Any]) -> str:
    value = row["from_command_ms"]
    return "-" if value is None else f"{value / table['period_ms']:.2f} T"
