"""What the guardian makes of words about its worker that come late, or not at all."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from gaitd.errors import CrashLoopError
from gaitd.guardian.backend_choice import BackendChoice
from gaitd.guardian.child import Child
from gaitd.guardian.spawner_process import News
from gaitd.guardian.worker_process import START_LIMIT_NS, WorkerProcess
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


@pytest.fixture
def worker(spawner: Any) -> WorkerProcess:
    child = Child(WORKER, str, [])
    made = WorkerProcess(
        child,
        BackendChoice(["onnx"]),
        WorkerMemory.create(3),
        map_lifeline(create_lifeline()),
        lambda child, now_ns: child.start(spawner, now_ns),
    )
    child.start(spawner, 0)
    return made


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


def test_a_spawner_that_does_not_answer_ends_gaitd(worker: WorkerProcess) -> None:
    assert worker.look(START_LIMIT_NS, None) is None
    with pytest.raises(CrashLoopError, match="does not answer"):
        worker.look(START_LIMIT_NS + 1, None)
