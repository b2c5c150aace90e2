"""The command ``gaitctl``."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
from pathlib import Path
from typing import Any

import gaitd
from gaitd.ctl import (
    bench,
    doctor,
    embed,
    keygen,
    policies,
    record,
    report,
    robot,
    route,
    selftest,
    service,
    switch,
)
from gaitd.ctl.client import ControlClient, GuardListener
from gaitd.ctl.explain import command as explain
from gaitd.ctl.rehearse import command as rehearse
from gaitd.ctl.replay import command as replay
from gaitd.ctl.shadow import command as shadow
from gaitd.ctl.top import command as top
from gaitd.errors import InputError, printable
from gaitd.system.command_line import confirm, run_command
from gaitd.wire.generated import Mode, Reason

_COUNTED = {"standby": "before activate", "followed": "followed by others"}
"""Counters that people would take for something else."""
MAX_DETAIL = 120
"""Characters; more, or some that are none, must not keep a request to damp from gaitd."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (gaitd.errors)."""
    parser = make_parser()
    options, unknown = parser.parse_known_args(arguments)
    if any(word.partition("=")[0] == "--runtime-dir" for word in unknown):
        parser.error("--runtime-dir stands before the command: gaitctl --runtime-dir DIR COMMAND ...")
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return run_command("gaitctl", lambda: options.command(options))


def make_parser() -> argparse.ArgumentParser:
    """All commands and options; also what the reference and the manual page are made from."""
    parser = argparse.ArgumentParser(
        prog="gaitctl", description="Look at a running gaitd, ask for damping, manage its policies."
    )
    parser.add_argument("--version", action="version", version=f"gaitctl {gaitd.__version__}")
    parser.add_argument(
        "--runtime-dir",
        type=Path,
        default=Path("/run/gaitd"),
        help="directory of gaitd's sockets (default: %(default)s)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="mode, reason, policy, worker, counters")
    status.add_argument("--json", action="store_true", help="for programs")
    route.add_options(status)
    status.set_defaults(command=_status)
    damp = commands.add_parser("damp", help="joints to damping, now; left only by an explicit activate")
    damp.add_argument(
        "--detail", default=f"gaitctl damp by {_user()}", help="why, for the log (default: who asked)"
    )
    route.add_options(damp)
    damp.set_defaults(command=_damp)
    release = commands.add_parser("release", help="end the session that is in damping: gaitd is idle again")
    route.add_options(release)
    release.set_defaults(command=_release)
    safe = commands.add_parser(
        "safe-to-stop", help="exit code 0 when stopping gaitd disturbs no session, 2 when it does or may"
    )
    safe.set_defaults(command=_safe_to_stop, force=False)
    policies.add_parsers(commands)
    for module in (
        switch,
        top,
        record,
        explain,
        replay,
        shadow,
        doctor,
        selftest,
        bench,
        rehearse,
        report,
        embed,
        keygen,
    ):
        module.add_parser(commands)
    return parser


def _status(options: argparse.Namespace) -> int:
    with ControlClient(route.of_options(options)) as client:
        status = client.demand("status")
    print(json.dumps(status, indent=2) if options.json else _in_words(status))
    return 0


def _damp(options: argparse.Namespace) -> int:
    where = route.of_options(options)
    with GuardListener(where) as guard, ControlClient(where) as client:
        detail = printable(options.detail, MAX_DETAIL)
        client.demand("damp", session=0, reason=int(Reason.OPERATOR), detail=detail)
        guard.wait_for_damping()
    confirm("damping")
    return 0


def _release(options: argparse.Namespace) -> int:
    with ControlClient(route.of_options(options)) as client:
        status = client.demand("status")
        mode, session = status["mode"], status["session"]
        if mode == Mode.ACTIVE.name.lower():
            raise InputError(
                f"session {session} is active: only its controller may end it while the robot moves; "
                "lie the robot down first, or gaitctl damp"
            )
        if mode != Mode.IDLE.name.lower():
            client.demand("release", session=session)
    confirm("idle")
    return 0


def _safe_to_stop(options: argparse.Namespace) -> int:
    then = f"stop it by hand: sudo systemctl stop {service.UNIT}"
    robot.refuse_while_walking(options, "stopping gaitd would drop the robot into damping", then)
    confirm("no session is active")
    return 0


def _interval(status: dict[str, Any]) -> str:
    """How far apart the controller's states are, against the policy's period."""
    interval_s, period_s = status.get("state_interval_s", 0.0), status["period_s"]
    due = f"{period_s * 1e3:.2f} ms is due"
    return f"{interval_s * 1e3:.2f} ms between states, {due}" if interval_s else f"not known, {due}"


def _in_words(status: dict[str, Any]) -> str:
    worker, policy, counters = status["worker"], status["policy"], status["counters"]
    mode = f"{status['mode']} for {status['mode_for_s']:.1f} s"
    if status["reason"] != "none":
        mode += f", because of {status['reason']}: {status['detail']}"
    if status.get("damped_by"):
        mode += f", asked for by {status['damped_by']}"
    ready = "ready" if worker["ready"] else "not ready"
    versions = " ".join(f"{name} {version}" for name, version in worker["versions"].items())
    session = f"{status['session']} of {status['owner'] or 'a controller that is gone'}"
    lines = [
        f"mode        {mode}",
        f"session     {session if status['session'] else 'none'}",
        f"gaitd       {status['gaitd']}, pid {status['guardian_pid']}",
        f"policy      {policy['name']} {policy['version']} ({policy['id']})",
        f"worker      {ready}, pid {worker['pid']}, start {worker['starts']}, {worker['backend']} {versions}"
        f"{_of_first(status)}",
        *([f"ON THE CPU  {worker['fallback']}"] if worker.get("fallback") else []),
        *_standby(status),
        *_policies(status),
        *(["rehearsal   daemon.rehearsal is on: not for walking"] if status.get("rehearsal") else []),
        f"controllers {', '.join(status['controllers']) or 'none connected'}",
        f"interval    {_interval(status)}",
        "states      " + ", ".join(f"{_COUNTED.get(name, name)} {count}" for name, count in counters.items()),
        f"refused     {_refusals(status)}",
        f"real time   {_realtime(status['missing_realtime'])}",
    ]
    return "\n".join(map(printable, lines))


def _standby(status: dict[str, Any]) -> list[str]:
    """The standby, where there is one, and what it has done."""
    standby = status.get("standby")
    if not standby:
        return [f"standby     {status.get('standby_choice', 'none')}"]
    alone = status["last_worker"]
    ready = "runs" if alone else "ready"
    if not standby["ready"]:
        ready = "NOT READY: a failure of the worker ends in damping"
    return [
        f"standby     {ready}, pid {standby['pid']}, start {standby['starts']}, {standby['backend']}"
        f"{_of_first(status)}; {status['standby_choice']}",
        *([f"failover    {status['failover']}"] if status["failover"] else []),
        *([f"LAST WORKER {alone}"] if alone else []),
    ]


def _of_first(status: dict[str, Any]) -> str:
    """Whose worker and standby those are, where there are several policies."""
    return f", of policy {status['policies'][0]['name']}" if status.get("policies") else ""


def _policies(status: dict[str, Any]) -> list[str]:
    """All of them, where there are several."""
    lines = []
    for policy in status.get("policies", []):
        marks = ["walks"] if policy["walks"] else []
        marks += ["first"] if policy["first"] else []
        marks.append("ready" if policy["ready"] else "NOT READY")
        marks.append(
            "with a standby" if policy["standby"] else "no standby: a failure of its worker ends in damping"
        )
        text = f"{policy['name']} {policy['version']} ({policy['id']})"
        lines.append(f"loaded      {text}: {', '.join(marks)}, pid {policy['pid']}, start {policy['starts']}")
    return lines


def _refusals(status: dict[str, Any]) -> str:
    """States and actions by their cause, and requests on the control channel."""
    counts = {**status["refused"], "requests": status["refused_requests"]}
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "nothing"


def _realtime(missing: dict[str, dict[str, str]]) -> str:
    names = [f"{name} of the {process}" for process, settings in missing.items() for name in settings]
    if not names:
        return "as configured"
    return f"not available: {', '.join(names)}; sudo gaitctl doctor says why"


def _user() -> str:
    """Who runs this, for the log: behind sudo the one who called it."""
    name = os.environ.get("SUDO_USER")
    try:
        return name or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


if __name__ == "__main__":
    sys.exit(main())
