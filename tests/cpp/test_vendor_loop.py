"""The adapter in a loop like the vendor's, with a real gaitd."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundles import small_manifest, write_small_bundle
from support.daemon import PATIENT, Gaitd, wait_until

PERIOD_NS = 12_000_000
DEADLINE_NS = 20 * PERIOD_NS
SLACK_NS = 100_000_000
"""Of a busy machine."""


class Controller:
    """The program of vendor_loop.cpp."""

    def __init__(self, program: Path, runtime_dir: Path, scratch: Path) -> None:
        self._lines, self._words = scratch / "lines", scratch / "words"
        self.process = subprocess.Popen(
            [program, runtime_dir],
            stdin=subprocess.PIPE,
            stdout=self._lines.open("w"),
            stderr=self._words.open("w"),
            text=True,
        )

    def say(self, word: str) -> int:
        """Have it do something; when it was done."""
        count = len(self.times(word))
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return wait_until(lambda: self.times(word)[count:], what=word)[-1]

    def ask(self, word: str) -> bool:
        self.say(word)
        answers = [line.split()[1] for line in self.lines() if line.startswith(word)]
        return answers[-2] == "1"

    def lines(self) -> list[str]:
        return self._lines.read_text().splitlines()

    def times(self, word: str) -> list[int]:
        return [int(line.split()[1]) for line in self.lines() if line.split()[0] == word]

    def text(self) -> str:
        return self._words.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.text().count(text) >= times, what=text)


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gaitd-test-") as directory:
        yield Path(directory) / "run"


@pytest.fixture
def controller(build: Path, runtime_dir: Path, tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(build / "vendor_loop", runtime_dir, tmp_path)
    yield controller
    controller.process.kill()
    controller.process.wait()


def test_a_missing_gaitd_lost_states_and_another_policy(
    controller: Controller, runtime_dir: Path, tmp_path: Path
) -> None:
    # Without gaitd the controller lives, and entering is refused.
    controller.wait_for("did not answer")
    assert not controller.ask("may-enter")
    controller.wait_for("entering RL refused: gaitd did not answer")
    controller.say("enter")
    assert controller.ask("damped")
    controller.say("leave")
    assert not controller.times("stiff")

    first = write_small_bundle(tmp_path / "first.gaitd", small_manifest(name="first"))
    second = write_small_bundle(tmp_path / "second.gaitd", small_manifest(name="second"))
    with Gaitd(first, runtime_dir=runtime_dir, config=PATIENT) as gaitd:
        gaitd.wait_ready()
        controller.wait_for("gaitd: policy first")
        assert controller.ask("may-enter")
        controller.say("enter")
        controller.wait_for("the policy moves the robot")
        assert not controller.ask("damped")
        assert len(controller.times("stiff")) == 1
        assert not controller.times("limp")

        # The states stop: nobody asks for a command, and the motors get damping all the same.
        lost_ns = controller.say("pause")
        limp_ns = wait_until(lambda: controller.times("limp"), what="limp motors")[0]
        assert limp_ns - lost_ns <= DEADLINE_NS + SLACK_NS
        assert controller.ask("damped")
        controller.wait_for("damping: client_deadline")
        assert wait_until(lambda: gaitd.status()["mode"] == "damping")

        controller.say("resume")
        controller.say("leave")
        assert len(controller.times("limp")) == 1

    # Another policy: taken up without a word, and the standing robot is not dropped.
    with Gaitd(second, runtime_dir=runtime_dir, config=PATIENT) as gaitd:
        gaitd.wait_ready()
        wait_until(lambda: controller.ask("may-enter"), what="may-enter")
        controller.say("enter")
        controller.wait_for("the policy moves the robot", times=2)
        assert len(controller.times("limp")) == 1
        assert gaitd.status()["mode"] == "active"

        # Left for good: the session is released, and the watchdog has nothing to do.
        controller.say("leave")
        wait_until(lambda: gaitd.status()["mode"] == "idle", what="a released session")
        assert controller.text().count("damping was sent") == 1
