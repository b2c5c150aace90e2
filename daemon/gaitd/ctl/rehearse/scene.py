"""What a rehearsal sees of gaitd and the controller, through public requests alone."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitd.ctl.client import ControlClient
from gaitd.errors import GaitdError, InputError, UnreachableError
from gaitd.wire.generated import Reason

SETTLE_S = 1.0
"""The policy has moved the joints for so long before a fault comes."""
LOOK_S = 0.02
ANSWER_S = 0.5


@dataclass(frozen=True)
class Session:
    """A session in which the policy moves the joints, and whom it concerns."""

    number: int
    controller: str
    thread: int
    """Of the controller's loop; 0 when it does not tell."""
    watched: bool
    simulated: bool
    rehearsal: bool
    """gaitd is set up for one (daemon.rehearsal)."""
    worker: int
    """Process ids."""
    guardian: int
    period_ns: int
    deadline_ns: int
    """How long after the last fresh command the joints may be left without another one."""
    status: dict[str, Any]


@dataclass(frozen=True)
class Account:
    """What the controller told of a session that ended in damping; CLOCK_MONOTONIC."""

    reason: int
    command_ns: int
    damped_ns: int


class Scene:
    """Looks only, apart from ``damp``."""

    def __init__(self, runtime_dir: Path) -> None:
        self._control_path = runtime_dir / "control.sock"
        self._client = ControlClient(runtime_dir, timeout_s=ANSWER_S)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def status(self) -> dict[str, Any] | None:
        """gaitd's status; None while it does not answer."""
        with contextlib.suppress(UnreachableError):
            return self._client.demand("status")
        return None

    def damp(self) -> None:
        """What ``gaitctl damp`` asks for."""
        self._client.demand("damp", session=0, reason=int(Reason.OPERATOR), detail="gaitctl rehearse")

    def wait_session(self, missing: Callable[[], None], timeout_s: float) -> Session:
        """Wait until the policy has moved the robot for a while.

        ``missing`` is called once when it does not. Raises InputError for a controller that tells nothing,
        GaitdError after ``timeout_s``.
        """
        until_s, told = time.monotonic() + timeout_s, False
        while time.monotonic() < until_s:
            status = self.status()
            if status is not None:
                check_accounts(status)
                if (session := session_of(status)) is not None:
                    return session
            if not told:
                missing()
                told = True
            time.sleep(LOOK_S)
        raise GaitdError(f"no session in which the policy moves the robot began within {timeout_s:g} s")

    def goes_on(self, session: Session) -> bool:
        """Whether the policy moves the robot in this session."""
        status = self.status()
        return status is not None and status["mode"] == "active" and status["session"] == session.number

    def check_processes(self, session: Session) -> None:
        """Raise InputError when the process ids that gaitd tells are not of this system."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(ANSWER_S)
            try:
                peer.connect(str(self._control_path))
                credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            except OSError as error:
                raise UnreachableError(f"{self._control_path}: {error.strerror}") from None
        pid = struct.unpack("3i", credentials)[0]
        if pid != session.guardian:
            raise InputError(
                f"gaitd calls itself process {session.guardian}, here it is {pid}: it runs in a container; "
                "run gaitctl rehearse in the same one"
            )


def session_of(status: dict[str, Any]) -> Session | None:
    """The session of a status, once the policy has moved the joints for a while; else None."""
    if status["mode"] != "active" or status["mode_for_s"] < SETTLE_S or not status["worker"]["ready"]:
        return None
    for account in status["accounts"]:
        if account["owns"]:
            return Session(
                number=status["session"],
                controller=account["controller"],
                thread=account["thread"],
                watched=account["watched"],
                simulated=account["simulated"],
                rehearsal=status["rehearsal"],
                worker=status["worker"]["pid"],
                guardian=status["guardian_pid"],
                period_ns=round(status["period_s"] * 1e9),
                deadline_ns=round(status["deadline_s"] * 1e9),
                status=status,
            )
    return None


def account_of(status: dict[str, Any] | None, session: Session) -> Account | None:
    """What a controller tells in this status of how that session ended; None: nothing."""
    for account in (status or {}).get("accounts", []):
        if account["session"] == session.number:
            return Account(account["reason"], account["command_ns"], account["damped_ns"])
    return None


def check_accounts(status: dict[str, Any]) -> None:
    """Raise InputError where nothing could be measured: a silent controller, or a standby."""
    if "accounts" not in status:
        raise InputError("this gaitd is older than this gaitctl: install the same release of both")
    if status.get("standby"):
        raise InputError(
            "there is a standby: the robot would walk through what is to end the walk; set standby.mode to "
            '"off" and restart gaitd for the rehearsal'
        )
    names = {account["controller"] for account in status["accounts"]}
    silent = [name for name in status["controllers"] if name not in names]
    active = status["mode"] == "active"
    if (active and status["owner"] in silent) or (not active and silent and not names):
        raise InputError(
            f"controller {silent[0]!r} tells gaitd nothing of its own dampings, and a rehearsal is timed at "
            "the controller: build it with the C++ client of this release (proto/cpp), or let your own "
            "client put `account` into its hello (proto/README.md)"
        )
