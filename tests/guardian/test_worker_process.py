"""What the guardian makes of words about its worker that come late, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import Any

import msgspec
import pytest

from gaitd.errors import CrashLoopError, GaitdError
from gaitd.guardian.backend_choice import BackendChoice
from gaitd.guardian.child import Child
from gaitd.guardian.spawner_process import News
from gaitd.guardian.worker_process import START_LIMIT_NS, WorkerProcess
from gaitd.shared.launch import WorkerReport
from gaitd.shared.lifeline import create_lifeline, map_lifeline
from gaitd.shared.processes import WORKER
from gaitd.shared.worker_memory import WorkerMemory


class Spawner:
    """Takes what it is asked for and does nothing by itself."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ask_for = self.asked.append


@pytest.fixture
def spawner() -> Any:
    return Spawner()


def made(spawner: Any, choice: BackendChoice, memory: WorkerMemory) -> WorkerProcess:
    child = Child(WORKER, str, [])
    child.start(spawner, 0)
    return WorkerProcess(
        child,
        choice,
        memory,
        map_lifeline(create_lifeline()),
        lambda child, now_ns: child.start(spawner, now_ns),
    )


@pytest.fixture
def worker(spawner: Any) -> WorkerProcess:
    return made(spawner, BackendChoice(["onnx"]), WorkerMemory.create(3))


def test_the_late_word_of_an_earlier_death_leaves_a_starting_worker_alone(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[signal.Signals] = []
    monkeypatch.setattr(worker.child, "send", sent.append)
    assert not worker.note_death(), "nothing runs yet"
    worker.child.hear(News("worker", pid=4711), 0)
    assert not worker.note_death(), "it is not ready, so nobody watches its lifeline"
    assert sent == []
    worker.ready = True
    assert worker.note_death()
    assert sent == [signal.SIGKILL]


def test_one_that_lost_the_session_may_get_out_its_last_words_before_it_is_killed(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[signal.Signals] = []
    process = subprocess.Popen(["sleep", "60"])
    worker.child.hear(News("worker", pid=process.pid, pidfd=os.pidfd_open(process.pid)), 0)
    monkeypatch.setattr(worker.child, "send", sent.append)
    try:
        worker.ready = True
        worker.give_up("it hangs", kill_at_ns=100)
        assert not worker.ready, "no session begins with it"
        worker.look(99, None)
        assert sent == []
        for now_ns in (100, 101):
            worker.look(now_ns, None)
        assert sent == [signal.SIGKILL]
        assert not worker.ready
    finally:
        process.kill()
        process.wait()


def test_without_a_thread_for_its_lifeline_it_is_ready_and_its_death_is_heard_all_the_same(
    worker: WorkerProcess, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a limit of processes (TasksMax) that others have used up: the robot may be walking."""
    process = subprocess.Popen(["sleep", "60"])
    worker.child.hear(News("worker", pid=process.pid, pidfd=os.pidfd_open(process.pid)), 0)
    monkeypatch.setattr(worker.child, "read_report", lambda: msgspec.json.encode(WorkerReport()) + b"\n")
    before = threading.stack_size(1 << 46)  # more than there is: no thread can be had
    try:
        with pytest.raises(RuntimeError):
            threading.Thread(target=print).start()
        worker.look(0, None)
    finally:
        threading.stack_size(before)
    assert worker.ready
    assert caplog.text.count("its death will be heard some ms later") == 1
    assert not worker.child.has_died()
    process.kill()
    process.wait()
    assert worker.child.has_died()


@pytest.mark.parametrize(
    ("proving", "error", "exit_code", "falls_back"),
    [
        (True, "rknn_init failed with RKNN_ERR_FAIL", 4, True),
        (True, "golden vector 3 is 0.5 away", 2, True),
        (True, "", 0, True),
        (True, "Too many open files", 7, False),
        (False, "the bundle was changed since gaitd started", 2, False),
        (False, "/run/gaitd/state.sock: Address already in use", 7, False),
        (False, "", 0, False),
    ],
)
def test_the_npu_is_blamed_for_what_is_the_npus(
    spawner: Any, proving: bool, error: str, exit_code: int, falls_back: bool
) -> None:
    """``error``: what the worker reported before it ended; none: it was killed."""
    choice = BackendChoice(["rknn", "onnx"])
    memory = WorkerMemory.create(3)
    worker = made(spawner, choice, memory)
    worker.child.hear(News("worker", pid=4711), 0)
    WorkerMemory(memory.fd, writable=True).words["proving_pid"] = 4711 if proving else 4710
    if error:
        report = msgspec.json.encode(WorkerReport(error=error, exit_code=exit_code)) + b"\n"
        os.write(worker.child.command.fds[-1], report)
    worker.child.hear(News("worker", pid=4711, code=exit_code or -9), 0)
    if error and not falls_back:
        with pytest.raises(GaitdError, match=error):
            worker.look(1, None)
    else:
        worker.look(1, None)
    assert (choice.current, choice.fallback != "") == (("onnx", True) if falls_back else ("rknn", False))


def test_a_spawner_that_does_not_answer_ends_gaitd(worker: WorkerProcess) -> None:
    assert worker.look(START_LIMIT_NS, None) is None
    with pytest.raises(CrashLoopError, match="does not answer"):
        worker.look(START_LIMIT_NS + 1, None)


def test_a_dead_worker_that_nobody_reaps_ends_gaitd(worker: WorkerProcess) -> None:
    read, write = os.pipe()  # as a pidfd, readable at the end
    worker.child.hear(News("worker", pid=4711, pidfd=read), 0)
    os.close(write)
    assert worker.look(1, None) == ""
    assert worker.look(1 + START_LIMIT_NS, None) == ""
    with pytest.raises(CrashLoopError, match="process 4711 cannot be reaped; a debugger holds it"):
        worker.look(2 + START_LIMIT_NS, None)
