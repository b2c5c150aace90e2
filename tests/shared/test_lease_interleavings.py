"""Every interleaving of the real guardian's writes with the real worker's reads and writes.

The worker answers one state; between any two of its operations the guardian may write, all of it at once or
piece by piece. What is published after the change, the client must refuse, by its own C++ rules.
"""

from __future__ import annotations

import ctypes
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from gaitd.policy.pipeline import PolicyPipeline
from gaitd.shared import lease
from gaitd.wire.codec import decode_command, encode_command, encode_state
from gaitd.wire.generated import Mode, Reason
from gaitd.worker import loop
from support import client_latch
from support.bundles import contract, small_manifest
from support.client_latch import ClientLatch
from support.controller import ALL_FIELDS, standing_state
from support.looped_guardian import LoopedGuardian, Write
from support.watched import Announce, LoopedWorker, Op

PERIOD_NS = 12_000_000
SLOT = 0
DEFAULT = np.array([0.0, -0.65, 1.3], np.float32)
ANSWER = [
    Op.RECEIVE,
    Op.READ_LEASE,
    Op.INFER,
    Op.STAGE,
    Op.READ_LEASE,
    Op.SEND,
    Op.MARK_SENT,
    Op.NOTE_COMMAND,
    Op.COMMIT,
]
"""What the worker does with one state, when nothing comes in between."""
STAGES, READS, SENDS, MARKS = 3, 4, 5, 6
AFTER = len(ANSWER)
"""A place behind the last operation."""


class Clock:
    """CLOCK_MONOTONIC, made up."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, duration_ns: int) -> None:
        self.now_ns += duration_ns


class Recurrent:
    """Its action shows the hidden state that it adopted and the last action that it was told."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self.reset()

    def infer(self, observation: np.ndarray) -> np.ndarray:
        self._announce(Op.INFER)
        self._next = np.tanh(0.5 * self._hidden + 0.5 * observation[-3:] + observation[:3] + 1).astype(
            np.float32
        )
        return self._next

    def commit(self) -> None:
        self._announce(Op.COMMIT)
        self._hidden = self._next

    def reset(self) -> None:
        self._hidden = self._next = np.zeros(3, np.float32)

    def close(self) -> None: ...


class Killed(BaseException):
    """The worker dies here."""


@dataclass
class Scene:
    """A controller, a guardian and a worker in one session after another."""

    library: ctypes.CDLL
    clock: Clock
    before: Callable[[Op], None] = lambda op: None
    """Called before each of the worker's operations."""
    delivered: list[str] = field(default_factory=list)
    """What the client made of each of the worker's commands, as they came."""

    def __post_init__(self) -> None:
        plain = small_manifest(control_period_s=PERIOD_NS / 1e9)
        plain["limits"]["slew"] = {"max_rad_per_step": 0.05}
        manifest = contract(plain)
        self.bundle: Any = SimpleNamespace(
            manifest=manifest,
            policy_id="0" * 16,
            id="0" * 64,
            path=Path("small.gaitd"),
            files={"manifest.yaml": b"small"},
            pipeline=lambda: PolicyPipeline(manifest, None),
        )
        self.guardian = LoopedGuardian(
            self.bundle, lambda data: self.tell(lambda client: client.offer(data, self.clock.now_ns))
        )
        self.records = self.guardian.worker_memory.steps
        self.times: dict[str, int] = {"deadline_ns": 0, "first_command_ns": 0}
        self.client, self.late_client = self.new_client(), self.new_client()
        self.start_worker()
        hello = {"controller": "scene", "joints": manifest.joints, "fields": ALL_FIELDS}
        self.guardian.ask("hello", lambda reply: self.times.update(reply.body["times"]), **hello)
        self.wake()

    def start_worker(self) -> None:
        """A fresh worker on the memory of the one before."""
        self.before = lambda op: None
        memory_fd = self.guardian.worker_memory.fd
        backend = Recurrent(self.announce)
        self.worker = LoopedWorker(
            loop, self.bundle, backend, SLOT, self.guardian.memory, memory_fd, self.announce
        )

    def announce(self, op: Op) -> None:
        self.before(op)

    def tell(self, what: Callable[[ClientLatch], object]) -> None:
        """Both clients get to know it."""
        for client in (self.client, self.late_client):
            what(client)

    def deliver(self) -> None:
        """The client gets what the worker has sent."""
        for data in self.worker.sent[len(self.delivered) :]:
            self.delivered.append(self.client.offer(data, self.clock.now_ns))

    def wake(self) -> None:
        for write in self.guardian.wake(self.clock.now_ns):
            write()

    def new_client(self) -> ClientLatch:
        return ClientLatch(self.library, 3, self.times["deadline_ns"], self.times["first_command_ns"])

    def begin(self) -> None:
        """A session of which one state was answered."""
        self.client, self.late_client = self.new_client(), self.new_client()
        """The second one gets the worker's commands when all else has come: each has a socket of its own."""
        self.grant: dict[str, int] = {}
        self.seq = 0
        self.before = lambda op: None
        self.guardian.ask("activate", lambda reply: self.grant.update(reply.body))
        self.wake()
        self.tell(lambda client: client.begin(**self.grant))
        self.worker.turn()
        assert self.worker.session == self.grant["session"]
        self.worker.sent.clear()
        self.delivered.clear()
        assert self.turn(self.state()) == ["none"]
        assert self.late_client.offer(self.worker.sent[0], self.clock.now_ns) == "none"
        assert self.client.mode is Mode.ACTIVE
        self.first_index = self.records.staged

    def state(self) -> bytes:
        """The next one, of now; the same values in every session."""
        self.clock.advance(PERIOD_NS)
        self.wake()  # the guardian renews the lease
        self.seq += 1
        self.tell(lambda client: client.published(self.clock.now_ns))
        state = standing_state(DEFAULT, seed=self.seq)
        stamp = {"session": self.grant["session"], "seq": self.seq, "stamp_ns": self.clock.now_ns}
        return encode_state(replace(state, **stamp))  # type: ignore[arg-type]

    def turn(self, *states: bytes) -> list[str]:
        """One turn of the worker; what the client made of its commands."""
        before = len(self.delivered)
        self.worker.turn(*states)
        self.deliver()
        return self.delivered[before:]

    def next_targets(self) -> np.ndarray:
        """Of the answer to one more state, with the lease given back; (2, 3): raw action, joint target."""
        self.before = lambda op: None
        state = self.state()
        word = lease.grant(self.grant["epoch"], SLOT, self.clock.now_ns + PERIOD_NS)
        self.guardian.memory.lease = word
        self.turn(state)
        command = decode_command(self.worker.sent[-1], 3)
        return np.array([command.action, command.joint_position])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    clock = Clock()
    library = client_latch.build(tmp_path_factory.mktemp("latch"))
    with mock.patch.object(time, "monotonic_ns", clock):
        yield Scene(library, clock)


# What the guardian does to the session: its writes, made later one by one.


def damp(scene: Scene) -> list[Write]:
    """Another peer asks for it, and hears so; the controller hears what is published."""
    scene.guardian.ask("damp", lambda reply: None, session=0, reason=int(Reason.OPERATOR))
    take_away, publish, _ = scene.guardian.wake(scene.clock.now_ns)
    return [take_away, publish]


def run_out(scene: Scene) -> list[Write]:
    """No command came for longer than its timer allows, so far as it sees."""
    return scene.guardian.wake(scene.clock.now_ns + 2 * scene.times["deadline_ns"])


def activate(scene: Scene) -> list[Write]:
    """The controller asks for a new session, a new epoch with it."""
    scene.guardian.ask("activate", lambda reply: scene.tell(lambda client: client.begin(**reply.body)))
    return scene.guardian.wake(scene.clock.now_ns)


def release(scene: Scene) -> list[Write]:
    session = scene.grant["session"]
    scene.guardian.ask("release", lambda reply: scene.tell(ClientLatch.end), session=session)
    take_away, _, answer = scene.guardian.wake(scene.clock.now_ns)  # what IDLE says changes no client
    return [take_away, answer]


def hand_over(scene: Scene) -> list[Write]:
    """The lease goes to another slot under a new epoch, whose command reaches the client."""
    epoch, slot = scene.grant["epoch"] + 1, SLOT + 1
    now_ns, mine = scene.clock.now_ns, decode_command(scene.worker.sent[0], 3)
    word = lease.grant(epoch, slot, now_ns + scene.times["deadline_ns"])
    theirs = encode_command(replace(mine, epoch=epoch, slot=slot, seq=mine.seq + 1, state_stamp_ns=now_ns))
    return [
        lambda: setattr(scene.guardian.memory, "lease", word),
        lambda: scene.tell(lambda client: client.offer(theirs, now_ns)),
    ]


def expire(scene: Scene) -> list[Write]:
    """The guardian is frozen: time passes and nobody renews."""
    return [lambda: scene.clock.advance(scene.times["deadline_ns"] + 1)]


@dataclass(frozen=True)
class Change:
    """One change, and how the client refuses a command of before."""

    make: Callable[[Scene], list[Write]]
    writes: int
    lease: int
    """Which of the writes takes the lease away."""
    known: int
    """Which of them lets the client know."""
    refusal: str


CHANGES = {
    "damping by a request": Change(damp, 2, lease=0, known=1, refusal="latched"),
    "damping by the guardian's timer": Change(run_out, 2, lease=0, known=1, refusal="latched"),
    "a new session": Change(activate, 3, lease=1, known=2, refusal="foreign_session"),
    "release": Change(release, 2, lease=0, known=1, refusal="foreign_session"),
    "another worker": Change(hand_over, 2, lease=0, known=1, refusal="old_epoch"),
    "expiry": Change(expire, 1, lease=0, known=0, refusal="late"),
}


def places(writes: int) -> Iterator[tuple[int, ...]]:
    """Before which of the worker's operations each write is made: all ways to do it, in order."""
    return itertools.combinations_with_replacement(range(AFTER + 1), writes)


class Interleaving:
    """Makes the writes at their places, and looks at the ring of records before each operation."""

    def __init__(self, scene: Scene, writes: Sequence[Write], at: Sequence[int]) -> None:
        self.scene, self.writes, self.at = scene, list(writes), list(at)
        self.ops: list[Op] = []

    def __call__(self, op: Op) -> None:
        self.scene.deliver()
        self.ops.append(op)
        self.make(len(self.ops) - 1)
        check_ring(self.scene)

    def make(self, place: int) -> None:
        while self.writes and self.at[0] <= place:
            self.at.pop(0)
            self.writes.pop(0)()


def check_ring(scene: Scene) -> None:
    """Whoever reads it at any moment: nothing sent is missing, nothing is called sent that was not."""
    records, _ = scene.records.read_since(scene.first_index - 1, unsettled=True)
    sent = {decode_command(data, 3).seq for data in scene.worker.sent}
    assert sent <= set(records["seq"].tolist())
    assert set(records["seq"][records["sent_ns"] != 0].tolist()) <= sent


@pytest.fixture(scope="module")
def twins(scene: Scene) -> dict[bool, np.ndarray]:
    """The answer to the third state: the second one was answered, or came and was not."""
    scene.begin()
    assert scene.turn(scene.state()) == ["none"]
    answered = scene.next_targets()
    scene.begin()
    kept = scene.state()
    assert scene.turn(kept, scene.state()) == ["none"]
    unanswered = np.array(
        [getattr(decode_command(scene.worker.sent[-1], 3), name) for name in ("action", "joint_position")]
    )
    assert (np.abs(answered - unanswered) > 1e-3).any(axis=1).all(), "both numbers tell them apart"
    return {True: answered, False: unanswered}


@pytest.mark.parametrize("name", CHANGES)
def test_a_command_of_before_a_change_is_withheld_or_refused(
    scene: Scene, twins: dict[bool, np.ndarray], name: str
) -> None:
    change = CHANGES[name]
    left = withheld = 0
    for at in places(change.writes):
        scene.begin()
        state = scene.state()
        writes = change.make(scene)
        assert len(writes) == change.writes
        scene.before = interleaving = Interleaving(scene, writes, at)
        verdicts = scene.turn(state)
        interleaving.make(AFTER)
        check_ring(scene)
        sent = bool(verdicts)

        # The lease decides, by the one look that the worker takes at it between step and sending.
        assert sent == (at[change.lease] > READS), at
        assert interleaving.ops.count(Op.SEND) == interleaving.ops.count(Op.COMMIT) == sent, at
        records, _ = scene.records.read_since(scene.first_index)
        assert (records["sent_ns"] != 0).tolist() == [True] * sent + [False] * (len(records) - sent), at

        # The client refuses what comes when it knows of the change, and whatever comes behind all the rest.
        known = at[change.known] <= SENDS
        assert verdicts == [change.refusal if known else "none"] * sent, at
        late = [scene.late_client.offer(data, scene.clock.now_ns) for data in scene.worker.sent[1:]]
        assert late == [change.refusal] * sent, at

        # A withheld command has changed nothing; of a session that the worker has left there is no next one.
        if scene.worker.session == scene.grant["session"]:
            np.testing.assert_array_equal(scene.next_targets(), twins[sent], err_msg=str(at))
        left += sent
        withheld += not sent
    assert left
    assert withheld


def test_the_places_are_all_that_there_are(scene: Scene) -> None:
    """What the worker does with a state; an operation more would be a place more."""
    scene.begin()
    scene.before = interleaving = Interleaving(scene, [], [])
    assert scene.turn(scene.state()) == ["none"]
    assert interleaving.ops == ANSWER


@pytest.mark.parametrize("place", range(AFTER))
def test_a_death_hides_nothing_from_who_reads_the_ring(scene: Scene, place: int) -> None:
    """The worker dies before its operation at ``place``; its successor leaves the record as it is."""
    scene.begin()

    def die(op: Op) -> None:
        ops.append(op)
        if len(ops) > place:
            raise Killed

    ops: list[Op] = []
    scene.before = die
    state = scene.state()
    with pytest.raises(Killed):
        scene.turn(state)
    check_ring(scene)
    assert (len(scene.worker.sent) == 2) == (place > SENDS)
    scene.start_worker()
    records, index = scene.records.read_since(scene.first_index)
    assert len(records) == (place > STAGES)
    assert (records["sent_ns"] != 0).tolist() == [place > MARKS] * len(records)
    scene.begin()
    assert scene.records.read_since(index)[0]["seq"].tolist() == [1]
