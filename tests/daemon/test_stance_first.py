"""With guard.stance_s, a walk that fails ends in the default stance for a moment, and then in damping."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import zmq

from gaitd.wire.codec import decode_command
from gaitd.wire.generated import Mode, Reason
from gaitd.wire.messages import JointCommand
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until

MS = 1_000_000
STANCE_NS = 500 * MS
CONFIG = PATIENT + "stance_s = 0.5\n"
JOINTS = ["knee", "hip", "thigh"]
POSITION, STIFFNESS, DAMPING, LIMP = (
    np.array(values, np.float32)
    for values in ([1.3, 0.0, -0.65], [32.0, 30.0, 31.0], [1.2, 1.0, 1.1], [2.7, 2.5, 2.6])
)


@dataclass
class GuardStream:
    """Every message of the guardian, from now on."""

    controller: Controller
    heard: list[JointCommand] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = self.controller.socket(zmq.SUB)
        self._socket.set(zmq.SUBSCRIBE, b"")
        self.controller.route.connect(self._socket, "guard")
        wait_until(self.read, what="the guardian's stream")

    def read(self) -> list[JointCommand]:
        """What was said of damping so far, in the order of its stamps; true once there is anything at all."""
        while self._socket.poll(0):
            self.heard.append(decode_command(self._socket.recv(), 3))
        return self.heard

    def damping(self) -> list[JointCommand]:
        return [command for command in self.read() if command.mode is Mode.DAMPING]

    def until_limp(self) -> list[JointCommand]:
        """All that was said until the joints were let go."""
        wait_until(lambda: any(not stands(command) for command in self.damping()), what="no stiffness")
        return self.damping()


def stands(command: JointCommand) -> bool:
    """Whether the joints are to stand; if not, whether they get nothing but damping."""
    zeros = np.zeros(3, np.float32)
    for values in (command.joint_velocity, command.torque, command.action):
        np.testing.assert_array_equal(values, zeros)
    if not command.stiffness.any():
        np.testing.assert_array_equal(command.joint_position, zeros)
        np.testing.assert_allclose(command.damping, LIMP)
        return False
    np.testing.assert_allclose(command.joint_position, POSITION)
    np.testing.assert_allclose(command.stiffness, STIFFNESS)
    np.testing.assert_allclose(command.damping, DAMPING)
    return True


@pytest.fixture
def daemon(small_bundle_path: Path) -> Iterator[Gaitd]:
    with Gaitd(small_bundle_path, config=CONFIG) as gaitd:
        yield gaitd.wait_ready()


@pytest.fixture
def walker(daemon: Gaitd) -> Controller:
    return daemon.controller(joints=JOINTS)


def walk(walker: Controller) -> None:
    walker.activate()
    wait_until(lambda: any(walker.walk(3)), what="the first command")


def kill_worker(daemon: Gaitd) -> None:
    os.kill(daemon.worker_pid(), signal.SIGKILL)


def test_a_walk_that_fails_stands_first_and_is_in_damping_from_the_first_moment(
    daemon: Gaitd, walker: Controller
) -> None:
    assert walker.contract["times"]["stance_ns"] == STANCE_NS
    stream = GuardStream(walker)
    walk(walker)
    kill_worker(daemon)
    said = stream.until_limp()
    assert {(command.reason, command.session) for command in said} == {(Reason.WORKER_DIED, walker.session)}
    standing = [stands(command) for command in said]
    assert standing.count(True) >= 10  # a stream, not one message
    assert standing == sorted(standing, reverse=True)
    first_ns, last_ns = (command.publish_stamp_ns for command in (said[0], said[standing.count(True) - 1]))
    assert last_ns - first_ns < STANCE_NS
    limp_ns = said[standing.count(True)].publish_stamp_ns
    assert limp_ns - first_ns > STANCE_NS - MS
    # It is over for good.
    wait_until(lambda: len(stream.damping()) >= len(said) + 10, what="more of the stream")
    assert not any(stands(command) for command in stream.damping()[len(said) :])


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (
            lambda daemon, walker: walker.control.demand("damp", session=0, reason=int(Reason.OPERATOR)),
            Reason.OPERATOR,
        ),
        (lambda daemon, walker: daemon.process.send_signal(signal.SIGTERM), Reason.SHUTDOWN),
    ],
    ids=["operator", "shutdown"],
)
def test_who_asks_for_damping_ends_the_stance(
    daemon: Gaitd, walker: Controller, ask: Callable[[Gaitd, Controller], object], reason: Reason
) -> None:
    stream = GuardStream(walker)
    walk(walker)
    kill_worker(daemon)
    wait_until(stream.damping, what="damping")
    ask(daemon, walker)
    said = stream.until_limp()
    limp = next(command for command in said if not stands(command))
    # The controller hears what ended it; to people the first reason stands.
    assert limp.reason is reason
    assert stands(said[0])
    assert limp.publish_stamp_ns - said[0].publish_stamp_ns < STANCE_NS
    if reason is Reason.OPERATOR:
        assert daemon.status()["reason"] == "worker_died"


def test_a_person_gets_damping_at_once(daemon: Gaitd, walker: Controller) -> None:
    stream = GuardStream(walker)
    walk(walker)
    walker.control.demand("damp", session=walker.session, reason=int(Reason.OPERATOR))
    wait_until(lambda: len(stream.damping()) >= 5, what="damping")
    assert not any(stands(command) for command in stream.damping())


def test_without_a_command_before_it_there_is_no_stance(daemon: Gaitd, walker: Controller) -> None:
    stream = GuardStream(walker)
    walker.activate()
    kill_worker(daemon)
    wait_until(lambda: len(stream.damping()) >= 5, what="damping")
    assert {command.reason for command in stream.damping()} == {Reason.WORKER_DIED}
    assert not any(stands(command) for command in stream.damping())
