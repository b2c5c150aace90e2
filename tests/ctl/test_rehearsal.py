"""gaitctl rehearse: what a step measured and what is said of it; the faults themselves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.backends.failing import ORDER, FailingBackend
from gaitd.ctl.cli import main
from gaitd.ctl.rehearse import table
from gaitd.ctl.rehearse.page import as_page
from gaitd.ctl.rehearse.person import GO, QUIT, SKIP, Nobody, Person
from gaitd.ctl.rehearse.run import Rehearsal
from gaitd.ctl.rehearse.scene import Account, Scene, Session, account_of, check_accounts, session_of
from gaitd.ctl.rehearse.steps import STEPS, Step
from gaitd.ctl.rehearse.threads import paused_thread
from gaitd.errors import BackendError, GaitdError, InputError
from gaitd.wire.generated import Reason
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until
from support.fakes import Honest

MS = 1_000_000
T_NS = 12 * MS
STEP = {step.fault: step for step in STEPS}
KILLED, STOPPED, BUTTON = STEP["worker killed"], STEP["worker stopped"], STEP["controller's own button"]


def status(**changes: Any) -> dict[str, Any]:
    account = {
        "controller": "mine", "owns": True, "thread": 7, "watched": True, "simulated": True,
        "session": 0, "reason": 0, "command_ns": 0, "damped_ns": 0,
    }  # fmt: skip
    return {
        "mode": "active",
        "mode_for_s": 2.0,
        "session": 5,
        "owner": "mine",
        "controllers": ["mine"],
        "accounts": [account],
        "worker": {"ready": True, "pid": 11, "backend": "onnx"},
        "guardian_pid": 10,
        "period_s": 0.012,
        "deadline_s": 0.06,
        "policy": {"id": "0" * 16, "name": "walk", "version": "1"},
        "missing_realtime": {"guardian": {}},
        "rehearsal": True,
        **changes,
    }


def session(**changes: Any) -> Session:
    found = session_of(status())
    assert found is not None
    return replace(found, **changes)


def judged(step: Step, *, fault_ms: float, command_ms: float, reason: Reason, **changes: Any) -> table.Row:
    """Damping came so long after the fault and the last command."""
    damped_ns = 10**12
    account = Account(int(reason), damped_ns - round(command_ms * MS), damped_ns)
    return table.judge(step, session(**changes), damped_ns - round(fault_ms * MS), account, walks=False)


# ---- the verdict


@pytest.mark.parametrize(
    ("step", "fault_ms", "command_ms", "reason", "verdict"),
    [
        (KILLED, 0.6, 9.0, Reason.WORKER_DIED, "ok"),
        (KILLED, 12.4, 20.0, Reason.WORKER_DIED, "ok"),  # the loop's own grain
        (KILLED, 12.6, 13.0, Reason.WORKER_DIED, "FAIL"),
        (KILLED, 0.6, 9.0, Reason.DEADLINE, "FAIL"),
        (STOPPED, 70.0, 60.4, Reason.DEADLINE, "ok"),
        (STOPPED, 55.0, 60.6, Reason.DEADLINE, "FAIL"),
    ],
)
def test_the_bound_counts_from_the_fault_or_from_the_last_command(
    step: Step, fault_ms: float, command_ms: float, reason: Reason, verdict: str
) -> None:
    row = judged(step, fault_ms=fault_ms, command_ms=command_ms, reason=reason)
    assert row.verdict == verdict
    assert bool(row.why) == (verdict == "FAIL")


def test_the_bound_is_what_gaitd_is_set_to() -> None:
    row = judged(STOPPED, fault_ms=83, command_ms=83, reason=Reason.DEADLINE, deadline_ns=7 * T_NS)
    assert (row.verdict, row.bound) == ("ok", "7 T from the command")


@pytest.mark.parametrize(
    ("account", "walks", "why"),
    [
        (None, True, "the policy went on"),
        (None, False, "did not tell"),
        (Account(Reason.WORKER_DIED, 0, 10**12), False, "no command was in force"),
        (Account(Reason.WORKER_DIED, 10**12 - 200 * MS, 10**12), False, "commands had ended before"),
        (Account(Reason.WORKER_DIED, 10**12 - 9 * MS, 10**12 - 8 * MS), False, "damping came before"),
        (Account(77, 10**12 - 9 * MS, 10**12), False, "the reason is reason 77, expected worker_died"),
    ],
)
def test_what_shows_nothing_of_the_fault_fails(account: Account | None, walks: bool, why: str) -> None:
    row = table.judge(KILLED, session(), 10**12 - 2 * MS, account, walks)
    assert row.verdict == "FAIL"
    assert why in " ".join(row.why)


def test_a_button_counts_from_the_last_command_alone() -> None:
    account = Account(Reason.OPERATOR, 10**12 - 5 * MS, 10**12)
    row = table.judge(BUTTON, session(), 0, account, walks=False)
    assert (row.verdict, row.from_fault_ms, row.from_command_ms) == ("ok", None, 5.0)


# ---- the table


def some_table(**changes: Any) -> dict[str, Any]:
    rows = [
        judged(STEPS[0], fault_ms=5, command_ms=1234.5, reason=Reason.CLIENT_DEADLINE, **changes),
        table.left_out(STEPS[1], session(), table.SKIPPED, "skipped"),
        judged(KILLED, fault_ms=0.6, command_ms=9, reason=Reason.WORKER_DIED),
    ]
    return table.as_table(session(controller="<b>mine", **changes), "today", "0.1.0", rows)


def test_every_step_has_a_row_and_only_those_within_their_bounds_are_good() -> None:
    made = some_table()
    assert [row["fault"] for row in made["rows"]] == [step.fault for step in STEPS]
    verdicts = [row["verdict"] for row in made["rows"]]
    assert verdicts == ["FAIL", "skipped", "ok", *["not run"] * (len(STEPS) - 3)]
    assert made["left_out"] == []
    assert "worker killed" not in table.bad_rows(made)
    assert len(table.bad_rows(made)) == len(STEPS) - 1


def test_a_fault_that_gaitd_is_not_set_up_for_is_named_and_not_counted() -> None:
    made = some_table(rehearsal=False)
    assert made["left_out"] == ["NPU or model reports errors"]
    assert len(made["rows"]) == len(STEPS) - 1
    assert "daemon.rehearsal is off: NPU or model reports errors" in table.in_words(made)


def test_the_text_fits_80_columns() -> None:
    text = table.in_words(some_table(watched=False))
    assert max(map(len, text.splitlines())) <= 80
    assert "no watchdog" in text


def test_the_page_is_one_file_and_quotes_what_others_wrote() -> None:
    page = as_page(some_table())
    assert "&lt;b&gt;mine" in page
    assert "<b>" not in page
    assert not re.search(r"(src|href)=|@import|url\(", page)
    assert 'name="viewport"' in page


def test_it_becomes_a_part_of_the_report(
    tmp_path: Path, small_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, report = tmp_path / "rehearsal.json", tmp_path / "report.json"
    file.write_text(json.dumps(some_table()))
    command = ["--runtime-dir", str(tmp_path), "report", "--no-bench", "--seconds", "0.05"]
    command += ["--bundle", str(small_bundle_path), "--config", os.devnull, "--output", str(report)]
    assert main([*command, "--rehearsal", str(file)]) == 0
    assert "ok       worker killed" in capsys.readouterr().out
    file.write_text('{"rows": []}')
    assert main([*command, "--rehearsal", str(file)]) == 2
    assert "format is None, expected 'gaitd rehearsal 1'" in capsys.readouterr().err


# ---- what it sees


def test_a_session_counts_once_the_policy_has_moved_the_robot_for_a_while() -> None:
    assert session_of(status()) == session()
    assert session_of(status(mode_for_s=0.5)) is None
    assert session_of(status(mode="damping")) is None
    assert session_of(status(worker={"ready": False, "pid": 11})) is None


def test_only_what_was_told_of_that_session_counts() -> None:
    told = status()
    assert account_of(told, session()) is None
    told["accounts"][0].update(session=5, reason=2, command_ns=3, damped_ns=4)
    assert account_of(told, session()) == Account(2, 3, 4)
    assert account_of(told, session(number=6)) is None
    assert account_of(None, session()) is None


def test_a_controller_that_tells_nothing_is_named() -> None:
    check_accounts(status())
    check_accounts(status(mode="idle", controllers=["tool", "mine"]))
    for silent in (status(accounts=[]), status(accounts=[], mode="idle")):
        with pytest.raises(InputError, match="'mine' tells gaitd nothing"):
            check_accounts(silent)


# ---- who confirms


def test_a_person_is_asked_until_the_answer_is_one_of_three() -> None:
    answers = iter(["maybe", " S ", "", "q"])
    person = Person(lambda text: next(answers))
    assert [person.confirm(), person.confirm(), person.confirm()] == [SKIP, GO, QUIT]


def test_a_button_that_does_not_work_is_named() -> None:
    assert not Nobody(None).press()
    with pytest.raises(InputError, match="--button ended with 1"):
        Nobody("false").press()


class OneSession(Scene):
    """A robot that walks for ever."""

    def __init__(self) -> None:
        pass

    def status(self) -> dict[str, Any] | None:
        return status()


def test_steps_are_skipped_and_quitting_leaves_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([*["s"] * (len(STEPS) - 1), "q"])
    rows = list(Rehearsal(OneSession(), Person(lambda text: next(answers)), print).rows(STEPS))
    assert [row.verdict for row in rows] == ["skipped"] * (len(STEPS) - 1)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "a person at a terminal"),
        (["--insist"], "go with --yes"),
        (["--yes", "--output", "x.html"], "must end in .json"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["rehearse", *options]) == 2
    assert words in capsys.readouterr().err


# ---- the faults


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def sleeper() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def test_ctrl_c_lets_a_stopped_process_go_on(sleeper: int) -> None:
    stopped = STOPPED.inject(OneSession(), session(worker=sleeper))
    with contextlib.suppress(KeyboardInterrupt), stopped:
        wait_until(lambda: state_of(sleeper) == "T")
        raise KeyboardInterrupt
    wait_until(lambda: state_of(sleeper) == "S")


def test_ctrl_c_lets_a_paused_thread_go_on(sleeper: int) -> None:
    with contextlib.suppress(KeyboardInterrupt), paused_thread(sleeper):
        assert state_of(sleeper) == "t"
        raise KeyboardInterrupt
    wait_until(lambda: state_of(sleeper) == "S")


def test_a_paused_thread_goes_on_when_whoever_paused_it_is_killed(sleeper: int) -> None:
    code = (
        "import sys, time; from gaitd.ctl.rehearse.threads import paused_thread\n"
        f"with paused_thread({sleeper}): print('paused', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == b"paused\n"
        assert state_of(sleeper) == "t"
        tracer.kill()
    wait_until(lambda: state_of(sleeper) == "S")


@pytest.mark.parametrize("thread", [0, 2**22 + 1, None], ids=["none", "gone", "somebody else's"])
def test_no_thread_of_somebody_else_is_paused(thread: int | None) -> None:
    step = STEP["controller's loop paused"]
    with pytest.raises(GaitdError, match=r"not there|no thread gaitd-link"):
        step.inject(OneSession(), session(thread=os.getpid() if thread is None else thread)).__enter__()


class Zero(Honest):
    def infer(self, observation: np.ndarray) -> np.ndarray:
        return np.zeros(3, np.float32)


def test_a_backend_fails_from_the_order_on_and_not_before() -> None:
    before = signal.getsignal(ORDER)
    try:
        backend = FailingBackend(Zero(None))  # type: ignore[arg-type]
        backend.infer(np.zeros(3, np.float32))
        signal.raise_signal(ORDER)
        for _ in range(2):
            with pytest.raises(BackendError, match="a rehearsal asked for it"):
                backend.infer(np.zeros(3, np.float32))
    finally:
        signal.signal(ORDER, before)


# ---- with a real gaitd, and a controller of another make


@pytest.fixture(scope="module")
def daemon(small_bundle_path: Path) -> Iterator[Gaitd]:
    with Gaitd(small_bundle_path, config=PATIENT) as daemon:
        daemon.wait_ready()
        yield daemon


@pytest.fixture
def controller(daemon: Gaitd) -> Iterator[Controller]:
    controller = daemon.controller()
    yield controller
    controller.close()


TOLD = {
    "simulated": False, "watched": False, "thread": 0,
    "session": 0, "reason": 0, "command_ns": 0, "damped_ns": 0,
}  # fmt: skip


def rehearse(daemon: Gaitd, tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gaitd.ctl.cli", "--runtime-dir", str(daemon.runtime_dir)]
    command += ["rehearse", "--yes", "--output", str(tmp_path / "r.json")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_controller_of_another_make_is_told_before_the_first_step(
    daemon: Gaitd, controller: Controller, tmp_path: Path
) -> None:
    controller.hello()
    process = rehearse(daemon, tmp_path)
    out, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "'test' tells gaitd nothing of its own dampings" in error
    assert "Step" not in out


def test_beside_a_real_robot_nobody_is_not_enough(
    daemon: Gaitd, controller: Controller, tmp_path: Path
) -> None:
    controller.hello(account=TOLD)
    controller.settle()
    controller.activate()
    process = rehearse(daemon, tmp_path)
    until_s = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until_s:
        controller.step()
    out, error = process.communicate(timeout=5)
    assert process.returncode == 2
    assert "'test' does not say that its robot is simulated" in error
    assert "Step" not in out
    assert controller.status()["mode"] == "active"
