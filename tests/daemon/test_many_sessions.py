"""One session after the other, as controllers do it: memory and file descriptors stay as they are.

GAITD_SESSIONS=2000 sets how many; `make sessions` prints what they left behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gaitd.wire.generated import Mode, Reason
from support.bundles import small_manifest, write_small_bundle
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until

SESSIONS = int(os.environ.get("GAITD_SESSIONS", "100"))
WARM = 40
"""Sessions before the first sample: what is made once is made by then."""
MARKS = {WARM, 100, 1000, SESSIONS}
GROWTH_KB = {"guardian": 512, "worker": 512, "telemetry": 4096}
"""Memory of its own that a process may take in the second half of the sessions, however many there are.
Telemetry's recordings grow with the steps in the ring until that is full, after a minute of walking."""
PERIOD_S = 0.005


@dataclass(frozen=True)
class Sample:
    """One process after so many sessions."""

    files: int
    resident_kb: int
    own_kb: int
    """Resident memory that it shares with nobody."""


def sample(pid: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.endswith(" kB")}
    return Sample(count_files(pid), int(numbers["VmRSS"]), int(numbers["RssAnon"]))


def count_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture
def gaitd(tmp_path: Path) -> Iterator[Gaitd]:
    bundle = write_small_bundle(tmp_path / "small.gaitd", small_manifest(control_period_s=PERIOD_S))
    recorder = f'[recorder]\ndirectory = "{tmp_path / "recordings"}"\nkeep = 3\n'
    with Gaitd(bundle, config=PATIENT + recorder) as daemon:
        yield daemon.wait_ready()


def walk_a_session(controller: Controller, number: int) -> bool:
    """hello, activate, some states; then release, damping by a person, or the next activate ends it.

    Returns whether the policy moved the joints.
    """
    controller.hello()
    controller.activate()
    answers = [wait_until(controller.step, what="the first command"), *controller.walk(4)]
    if number % 10 == 9:
        controller.control.demand("damp", session=controller.session, reason=int(Reason.OPERATOR))
        controller.wait_for(Mode.DAMPING)
    if number % 10 != 5:
        controller.control.demand("release", session=controller.session)
    return any(answer is not None and answer.mode is Mode.ACTIVE for answer in answers)


def test_sessions_leave_nothing_behind(gaitd: Gaitd) -> None:
    status = gaitd.status()
    processes = {
        "guardian": status["guardian_pid"],
        "worker": status["worker"]["pid"],
        "telemetry": status["telemetry_pid"],
    }
    samples: dict[int, dict[str, Sample]] = {}
    controller = gaitd.controller()
    walked = 0
    for number in range(1, SESSIONS + 1):
        walked += walk_a_session(controller, number)
        if number % 10 == 0:  # the controller is started again
            controller.close()
            controller = gaitd.controller()
        if number in MARKS:
            gaitd.metrics()
            for name, pid in processes.items():
                if samples:  # connections that were closed may take a moment to go
                    wait_until(
                        lambda name=name, pid=pid: count_files(pid) <= samples[WARM][name].files,
                        what=f"as many descriptors of {name} after {number} sessions as after {WARM}",
                    )
            samples[number] = {name: sample(pid) for name, pid in processes.items()}
    for number, each in samples.items():
        for name, one in each.items():
            print(
                f"{number:5} sessions  {name:9} {one.files:3} descriptors  {one.resident_kb:6} kB resident"
                f"  {one.own_kb:6} kB of its own"
            )
    after = gaitd.status()
    assert (after["worker"]["pid"], after["worker"]["starts"]) == (processes["worker"], 1)
    assert after["telemetry_pid"] == processes["telemetry"]
    assert walked > 0.9 * SESSIONS
    half = max(number for number in samples if number <= max(SESSIONS // 2, WARM))
    for name in processes:
        warm, middle, last = (samples[number][name] for number in (WARM, half, SESSIONS))
        assert last.files <= warm.files, name
        assert last.own_kb - middle.own_kb < GROWTH_KB[name], name
