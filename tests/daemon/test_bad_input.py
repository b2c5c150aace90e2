"""Bad input on every socket of a running gaitd: counted, refused, and the session walks on."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgpack
import numpy as np
import pytest
import zmq

from gaitd.wire.codec import encode_state
from gaitd.wire.control import Request, decode_reply, encode_request
from gaitd.wire.endpoints import Endpoints
from gaitd.wire.generated import MAX_MESSAGE_BYTES, Mode, Reason
from gaitd.wire.messages import JointCommand, RawObservation
from support.controller import Controller
from support.daemon import Gaitd, wait_until, wait_walking
from support.proto import encode_raw_observation

MS = 1_000_000
SOCKETS = ("state", "command", "guard", "control")
JUNK = [
    b"",
    b"junk",
    b"\0" * 100,
    b"\xff" * 1000,
    b"\x91" * 1000 + b"\xc0",  # nested as deep as the decoder goes
    b"\x95\x02\x04\x01\xa5hello" + b"\x91" * 1000 + b"\xc0",
    msgpack.packb([2, 4, 1, "status", {}])[:-1],
    msgpack.packb({"version": 2}),
    os.urandom(2000),
]


def refused(daemon: Gaitd, why: str) -> int:
    return int(daemon.metrics()[f'gaitd_states_refused_total{{why="{why}"}}'])


def send_instead(walker: Controller, data: bytes) -> list[JointCommand]:
    """Send these bytes in place of one period's state; the commands that come meanwhile."""
    until_s = time.monotonic() + walker.period_s
    walker.states.send(data)
    commands = []
    while (left_s := until_s - time.monotonic()) > 0:
        command = walker.receive(left_s)
        if command is not None:
            commands.append(command)
    return commands


def assert_walks(walker: Controller, daemon: Gaitd) -> None:
    """The session that was, is; and it is answered."""
    answers = wait_until(lambda: [each for each in walker.walk(5) if each is not None], what="an answer")
    assert {command.mode for command in answers} == {Mode.ACTIVE}
    status = daemon.status()
    assert (status["mode"], status["session"], status["reason"]) == ("active", walker.session, "none")


def changed(index: int, value: object) -> Callable[[Controller], bytes]:
    """A good state with one element replaced."""

    def bad(walker: Controller) -> bytes:
        message = msgpack.unpackb(encode_state(walker.next_state()))
        message[index] = value
        return bytes(msgpack.packb(message))

    return bad


def restamped(ahead_ns: int) -> Callable[[Controller], bytes]:
    def bad(walker: Controller) -> bytes:
        state = walker.next_state()
        return encode_state(replace(state, stamp_ns=state.stamp_ns + ahead_ns))

    return bad


def with_seq(offset: int) -> Callable[[Controller], bytes]:
    """A fresh state under the number of another one."""

    def bad(walker: Controller) -> bytes:
        state = walker.next_state()
        walker.seq -= 1
        return encode_state(replace(state, seq=state.seq + offset))

    return bad


def replayed(walker: Controller) -> bytes:
    assert walker.sent is not None
    return encode_state(walker.sent)


def frozen(walker: Controller) -> bytes:
    """The sensors of the state before, under a fresh stamp."""
    fresh, last = walker.next_state(), walker.sent
    assert last is not None
    return encode_state(replace(last, seq=fresh.seq, stamp_ns=fresh.stamp_ns))


def foreign(walker: Controller) -> bytes:
    return encode_state(replace(walker.next_state(), session=walker.session + 1))


def raw_observation(walker: Controller) -> bytes:
    state = walker.next_state()
    joints = (state.joint_position, state.joint_velocity)
    return encode_raw_observation(
        RawObservation(state.session, state.seq, state.stamp_ns, np.zeros(18, np.float32), *joints)
    )


BAD_STATES: dict[str, tuple[str, Callable[[Controller], bytes]]] = {
    "unknown version": ("malformed", changed(0, 1)),
    "unknown type": ("malformed", changed(1, 9)),
    "raw observation in a session of states": ("malformed", raw_observation),
    "one joint too few": ("malformed", changed(10, b"\0" * 8)),
    "one joint too many": ("malformed", changed(11, b"\0" * 16)),
    "half a float": ("malformed", changed(12, b"\0" * 13)),
    "NaN in a joint": ("not_finite", changed(10, np.full(3, np.nan, "<f4").tobytes())),
    "NaN in the command": ("not_finite", changed(9, np.full(3, np.nan, "<f4").tobytes())),
    "infinite rates": ("not_finite", changed(5, np.full(3, np.inf, "<f4").tobytes())),
    "no attitude": ("orientation_norm", changed(6, b"\0" * 16)),
    "a joint beyond its range": ("out_of_range", changed(10, np.full(3, 9, "<f4").tobytes())),
    "another session": ("foreign_session", foreign),
    "an old session": ("foreign_session", changed(2, 1)),
    "no session": ("foreign_session", changed(2, 0)),
    "replayed": ("sequence", replayed),
    "reordered": ("sequence", with_seq(-2)),
    "a number far ahead": ("sequence", with_seq(10_000)),
    "a stamp of the future": ("future", restamped(500 * MS)),
    "a stamp from before the last": ("sequence", restamped(-1000 * MS)),
    "frozen": ("frozen", frozen),
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_a_bad_state_is_counted_and_not_answered(daemon: Gaitd, walker: Controller, name: str) -> None:
    why, make = BAD_STATES[name]
    before = refused(daemon, why)
    for _ in range(4):
        walker.walk(2)
        assert walker.sent is not None
        answered = walker.sent.seq
        for command in send_instead(walker, make(walker)):
            assert (command.session, command.mode) == (walker.session, Mode.ACTIVE)
            assert command.seq <= answered
    counted = f"4 states refused as {why}"
    wait_walking(walker.step, lambda: refused(daemon, why) == before + 4, what=counted)
    assert_walks(walker, daemon)


def test_states_at_twice_the_rate_are_early(daemon: Gaitd, walker: Controller) -> None:
    before = refused(daemon, "early")
    for _ in range(5):
        walker.walk(1)
        # The stamp, not the time of arrival, says how far the two are apart.
        assert walker.sent is not None
        early = replace(walker.next_state(), stamp_ns=walker.sent.stamp_ns + 6 * MS)
        send_instead(walker, encode_state(early))
    wait_walking(walker.step, lambda: refused(daemon, "early") == before + 5, what="5 early states")
    assert_walks(walker, daemon)


def test_a_state_that_is_too_old_is_not_answered(daemon: Gaitd) -> None:
    controller = daemon.controller()
    controller.activate()
    before = refused(daemon, "old")
    came = send_instead(controller, restamped(-200 * MS)(controller))
    assert [each for each in came if each.session == controller.session] == []
    wait_until(lambda: refused(daemon, "old") == before + 1, what="an old state")
    assert_walks(controller, daemon)
    controller.control.demand("release", session=controller.session)


def test_states_before_activate_are_counted_and_never_answered(daemon: Gaitd) -> None:
    controller = daemon.controller()
    before = int(daemon.metrics()["gaitd_states_standby_total"])
    for _ in range(10):
        for command in send_instead(controller, encode_state(controller.next_state())):
            assert command.mode is Mode.IDLE
            assert command.session == 0
    count = "gaitd_states_standby_total"
    wait_until(lambda: daemon.metrics()[count] == before + 10, what="10 states in standby")


@pytest.fixture
def outsider() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


def connect(
    context: zmq.Context[zmq.Socket[bytes]], daemon: Gaitd, name: str, kind: int
) -> zmq.Socket[bytes]:
    connected = context.socket(kind)
    connected.set(zmq.LINGER, 0)
    connected.set(zmq.SNDTIMEO, 5000)
    connected.connect(getattr(Endpoints.in_directory(daemon.runtime_dir), name))
    return connected


def test_junk_from_another_publisher_is_malformed(
    daemon: Gaitd, walker: Controller, outsider: zmq.Context[zmq.Socket[bytes]]
) -> None:
    publisher = connect(outsider, daemon, "state", zmq.PUB)
    before = refused(daemon, "malformed")

    def arrives() -> bool:
        publisher.send(b"junk")
        walker.step()
        return refused(daemon, "malformed") > before

    wait_until(arrives, what="the first junk")
    before = refused(daemon, "malformed")
    for junk in JUNK:
        publisher.send(junk)
        walker.step()
    wait_walking(walker.step, lambda: refused(daemon, "malformed") >= before + len(JUNK), what="all the junk")
    assert_walks(walker, daemon)


def test_an_oversized_state_is_dropped_with_its_connection(
    daemon: Gaitd, walker: Controller, outsider: zmq.Context[zmq.Socket[bytes]]
) -> None:
    publisher = connect(outsider, daemon, "state", zmq.PUB)
    for _ in range(5):
        publisher.send(b"\0" * (MAX_MESSAGE_BYTES + 1))
        publisher.send(b"\0" * 5_000_000)
        assert_walks(walker, daemon)


def test_junk_requests_are_counted_and_get_no_answer(
    daemon: Gaitd, walker: Controller, outsider: zmq.Context[zmq.Socket[bytes]]
) -> None:
    before = daemon.metrics()["gaitd_control_refused_total"]
    dealer = connect(outsider, daemon, "control", zmq.DEALER)
    for junk in JUNK:
        dealer.send(junk)
        dealer.send_multipart([b"", junk])
        dealer.send_multipart([junk, junk, junk])
        walker.step()
    count = 3 * len(JUNK)
    wait_walking(
        walker.step,
        lambda: daemon.metrics()["gaitd_control_refused_total"] == before + count,
        what=f"{count} refusals",
    )
    assert dealer.poll(0) == 0
    dealer.send(encode_request(Request(7, "status", {})))
    assert dealer.poll(5000)
    assert decode_reply(dealer.recv()).request_id == 7
    assert_walks(walker, daemon)


def test_an_oversized_request_is_dropped_with_its_connection(
    daemon: Gaitd, walker: Controller, outsider: zmq.Context[zmq.Socket[bytes]]
) -> None:
    dealer = connect(outsider, daemon, "control", zmq.DEALER)
    dealer.send(b"\0" * (MAX_MESSAGE_BYTES + 1))
    assert_walks(walker, daemon)
    assert dealer.poll(0) == 0
    again = connect(outsider, daemon, "control", zmq.DEALER)
    again.send(encode_request(Request(8, "status", {})))
    assert again.poll(5000)


def test_a_request_with_an_empty_delimiter_is_answered_likewise(
    daemon: Gaitd, outsider: zmq.Context[zmq.Socket[bytes]]
) -> None:
    """As a REQ socket sends it."""
    asker = connect(outsider, daemon, "control", zmq.REQ)
    asker.send(encode_request(Request(9, "status", {})))
    assert asker.poll(5000)
    assert decode_reply(asker.recv()).ok


@pytest.mark.parametrize("name", SOCKETS)
def test_bytes_that_are_not_zeromq(daemon: Gaitd, walker: Controller, name: str) -> None:
    """A plain Unix connection with junk, half a greeting, or nothing at all."""
    path = getattr(Endpoints.in_directory(daemon.runtime_dir), name).removeprefix("ipc://")
    greeting = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00NULL" + b"\0" * 16
    connections = []
    for data in (b"", b"junk" * 1000, greeting, greeting + b"\0" * 100, b"\x01\x00", *JUNK):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        # gaitd may hang up in the middle of it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        connections.append(connection)
        walker.step()
    assert_walks(walker, daemon)
    for connection in connections:
        connection.close()
    assert_walks(walker, daemon)


def test_junk_sent_to_the_publishers_is_ignored(
    daemon: Gaitd, walker: Controller, outsider: zmq.Context[zmq.Socket[bytes]]
) -> None:
    for name in ("command", "guard"):
        subscriber = connect(outsider, daemon, name, zmq.XSUB)
        for junk in JUNK:
            subscriber.send(junk)
            walker.step()
    assert_walks(walker, daemon)


def test_a_second_controller_cannot_touch_the_session(daemon: Gaitd, walker: Controller) -> None:
    other = daemon.connect(name="other")
    other.hello()
    before = daemon.metrics()["gaitd_control_refused_total"]
    attempts = [
        ("activate", {}, "of controller 'walker' is active"),
        ("release", {"session": walker.session}, "another connection"),
        ("release", {"session": walker.session + 1}, "not the running one"),
        ("damp", {"session": walker.session + 1, "reason": int(Reason.OPERATOR)}, "not the running one"),
        ("damp", {"session": walker.session, "reason": int(Reason.SHUTDOWN)}, "is not operator or client"),
        ("dance", {}, "unknown request"),
        ("hello", {"controller": "other", "joints": ["hip"], "fields": []}, "'thigh' is missing"),
    ]
    for name, body, words in attempts:
        reply = other.control.ask(name, **body)
        assert not reply.ok
        assert reply.body["reason"] == Reason.CONTRACT
        assert words in reply.body["error"]
        assert walker.step() is not None or walker.step() is not None
    assert daemon.metrics()["gaitd_control_refused_total"] == before + len(attempts)
    foreign_before = refused(daemon, "foreign_session")
    other.session = walker.session + 1
    for _ in range(5):
        other.send(other.next_state())
        walker.step()
    wait_walking(
        walker.step, lambda: refused(daemon, "foreign_session") > foreign_before, what="foreign states"
    )
    assert_walks(walker, daemon)


def walk_in_a_flood(walker: Controller, flooder: Controller) -> tuple[list[JointCommand], float]:
    """Damping that was heard, and the longest time between two states, s."""
    damping, sent_s, longest_s = [], time.monotonic(), 0.0
    for _ in range(20):
        for number in range(50):
            with contextlib.suppress(zmq.Again):  # what is not taken any more is not waited for
                flooder.control._socket.send(encode_request(Request(number + 1, "status", {})), zmq.DONTWAIT)
        answer = walker.step()
        damping += [answer] if answer is not None and answer.mode is Mode.DAMPING else []
        longest_s, sent_s = max(longest_s, time.monotonic() - sent_s), time.monotonic()
    return damping, longest_s


def test_a_flood_of_requests_does_not_stop_the_walk(daemon: Gaitd, walker: Controller) -> None:
    flooder = daemon.connect(name="flooder")
    deadline_s = 20 * walker.period_s
    for _ in range(3):
        damping, longest_s = walk_in_a_flood(walker, flooder)
        if not damping or longest_s < deadline_s / 2:
            break
        # A busy machine held up this process for as long as states may stay away: that proves nothing.
        walker.activate()
        wait_until(lambda: any(walker.walk(3)), what="the first command")
    assert damping == []
    assert_walks(walker, daemon)


def test_every_state_is_accounted_for(daemon: Gaitd, walker: Controller) -> None:
    """What was received is what was answered, refused, or set aside for a stated cause."""
    walker.walk(5)

    def balance() -> float:
        metrics = daemon.metrics()
        ends = ("standby", "superseded")
        accounted = sum(metrics[f"gaitd_states_{name}_total"] for name in ends)
        accounted += metrics["gaitd_steps_total"] + metrics["gaitd_commands_withheld_total"]
        for prefix in ("gaitd_states_refused_total", "gaitd_actions_rejected_total"):
            accounted += sum(value for name, value in metrics.items() if name.startswith(prefix))
        return metrics["gaitd_states_received_total"] - accounted

    wait_until(lambda: balance() == 0.0, what="a balanced account")
