"""Go through the steps: wait for a walking robot, have the step confirmed, inject, measure, undo, recover."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

from gaitd.ctl.rehearse import table
from gaitd.ctl.rehearse.person import QUIT, SKIP, Confirmer
from gaitd.ctl.rehearse.scene import LOOK_S, Account, Scene, Session, account_of
from gaitd.ctl.rehearse.steps import Step
from gaitd.ctl.rehearse.table import Row
from gaitd.errors import GaitdError, InputError

TELL_S = 5.0
"""A controller has told of its damping by then, where gaitd answers."""
PRESS_S = 60.0
READY_S = 60.0

Say = Callable[[str], None]


class Rehearsal:
    """One run through the steps with one robot."""

    def __init__(self, scene: Scene, confirmer: Confirmer, say: Say) -> None:
        self._scene = scene
        self._confirmer = confirmer
        self._say = say

    def begin(self, *, insist: bool, unattended: bool) -> Session:
        """Wait for the first session. Raises InputError when nothing can be measured, or nobody is there."""
        session = self._walking()
        self._scene.check_processes(session)
        try:
            os.kill(session.guardian, 0)
        except PermissionError:
            raise InputError("signals to gaitd need its user or root: sudo gaitctl rehearse") from None
        if unattended and not (session.simulated or insist):
            raise InputError(
                f"controller {session.controller!r} does not say that its robot is simulated: beside a real "
                "one somebody confirms each step (without --yes); --insist if you have seen to it"
            )
        return session

    def rows(self, steps: Sequence[Step]) -> Iterator[Row]:
        """One row after the other, until the end or until the person quits."""
        for number, step in enumerate(steps, 1):
            session = self._walking()
            self._say(f"\nStep {number} of {len(steps)}: {step.fault}")
            self._say(f"  {step.happens}")
            self._say("  You should see the legs go soft at once. Emergency stop in hand?")
            while True:
                answer = self._confirmer.confirm()
                if answer == QUIT:
                    return
                if answer == SKIP or self._scene.goes_on(session):
                    break
                self._say("  The session has ended meanwhile.")
                session = self._walking()
            row = (
                table.left_out(step, session, table.SKIPPED, "skipped")
                if answer == SKIP
                else self._measure(step, session)
            )
            self._say(f"  {row.verdict}: {row.measured}")
            for why in row.why if row.measured not in row.why else ():
                self._say(f"  {why}")
            yield row

    def _walking(self) -> Session:
        def ask() -> None:
            self._say("\nWaiting: stand the robot up and enter the policy.")

        return self._scene.wait_session(ask, self._confirmer.patience_s)

    def _measure(self, step: Step, session: Session) -> Row:
        injected_ns = time.monotonic_ns()
        if step.by_person:
            if not self._confirmer.press():
                return table.left_out(step, session, table.NOT_RUN, "nobody to press it (--button)")
            injected_ns = 0
        try:
            with step.inject(self._scene, session):
                account = self._account(session, PRESS_S if step.by_person else step.hold_s)
        except (GaitdError, OSError) as error:
            return table.left_out(step, session, table.NOT_RUN, str(error))
        try:
            return self._look_at(step, session, injected_ns, account)
        except GaitdError as error:
            return table.left_out(step, session, table.FAIL, str(error))

    def _look_at(self, step: Step, session: Session, injected_ns: int, account: Account | None) -> Row:
        """The row, once the fault is undone. Raises GaitdError when gaitd does not come back."""
        if step.ends_gaitd:
            self._say("  gaitd is gone. Waiting until it has started again (systemd does it) ...")
            self._ready(self._confirmer.patience_s)
        account = account or self._account(session, TELL_S)
        walks = account is None and self._scene.goes_on(session)
        ready_s = None
        if injected_ns and not walks and self._replaced(session):
            ready_s = round(self._ready(READY_S) - injected_ns / 1e9, 1)
        return table.judge(step, session, injected_ns, account, walks, ready_s)

    def _account(self, session: Session, timeout_s: float) -> Account | None:
        until_s = time.monotonic() + timeout_s
        while True:
            account = account_of(self._scene.status(), session)
            if account is not None or time.monotonic() > until_s:
                return account
            time.sleep(LOOK_S)

    def _replaced(self, session: Session) -> bool:
        """Whether another worker serves, or will."""
        status = self._scene.status()
        return status is None or not status["worker"]["ready"] or status["worker"]["pid"] != session.worker

    def _ready(self, timeout_s: float) -> float:
        """Wait until a session could begin; CLOCK_MONOTONIC. Raises GaitdError."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            status = self._scene.status()
            if status is not None and status["worker"]["ready"]:
                return time.monotonic()
            time.sleep(LOOK_S)
        raise GaitdError(f"gaitd has no ready worker within {timeout_s:g} s: see journalctl -u gaitd")
