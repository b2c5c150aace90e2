"""Who may move the joints: hello, activate, release, damp, status, and several controllers at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import gaitd
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.guardian import rules
from gaitd.guardian.rules import GuardLimits
from gaitd.guardian.sessions import MAX_CONTROLLERS, Sessions
from gaitd.wire.control import Reply, Request, encode_reply
from gaitd.wire.generated import MAX_MESSAGE_BYTES, Mode, Reason
from support.bundles import small_manifest, write_small_bundle
from support.proto import HELLO_REPLY_KEYS

JOINTS = ["hip", "thigh", "knee"]
FIELDS = ["angular_velocity", "orientation", "velocity_command", "joint_position", "joint_velocity"]
FIRST = 1000
LIMITS = GuardLimits(deadline_ns=60_000_000, first_command_ns=500_000_000)


ACCOUNT = {
    "simulated": True, "watched": True, "thread": 7,
    "session": 5, "reason": 2, "command_ns": 10, "damped_ns": 20,
}  # fmt: skip


def make(bundle: Bundle, *, ready: bool = True) -> Sessions:
    sessions = Sessions(bundle, LIMITS, FIRST, lambda: {"extra": "status"}, 0)
    sessions.worker_ready = ready
    return sessions


@dataclass
class Peer:
    """One connection to the control channel."""

    sessions: Sessions
    identity: bytes
    now_ns: int = 0

    def ask(self, name: str, **body: Any) -> Reply:
        self.now_ns += 1
        reply = self.sessions.answer(self.identity, Request(self.now_ns, name, body), self.now_ns)
        assert reply.request_id == self.now_ns
        assert len(encode_reply(reply)) <= MAX_MESSAGE_BYTES
        return reply

    def hello(self, **changes: Any) -> Reply:
        body = {"controller": "c", "joints": JOINTS, "fields": FIELDS, "message": "state"}
        return self.ask("hello", **{**body, **changes})

    def activate(self) -> int:
        reply = self.ask("activate")
        assert reply.ok, reply.body
        return int(reply.body["session"])


@pytest.fixture
def sessions(small_bundle: Bundle) -> Sessions:
    return make(small_bundle)


@pytest.fixture
def peer(sessions: Sessions) -> Peer:
    return Peer(sessions, b"first")


@pytest.fixture
def other(sessions: Sessions) -> Peer:
    return Peer(sessions, b"other")


def refused(reply: Reply, reason: Reason, *words: str) -> None:
    assert not reply.ok
    assert reply.body["reason"] == reason
    for word in words:
        assert word in reply.body["error"]
    assert "\n" not in reply.body["error"]


def test_hello_gives_the_contract(peer: Peer, small_bundle: Bundle) -> None:
    body = peer.hello().body
    assert body["gaitd"] == gaitd.__version__
    assert set(body) == set(HELLO_REPLY_KEYS)
    assert body["policy"] == 0
    assert body["policies"] == [{"id": small_bundle.policy_id, "name": "small", "version": "1.0.0"}]
    assert body["period_ns"] == 12_000_000
    assert body["times"]["deadline_ns"] == 60_000_000
    assert body["times"]["stance_ns"] == 0
    assert body["joints"] == JOINTS
    assert body["fields"] == sorted(FIELDS)
    assert body["observation_dim"] == 18
    assert body["velocity_command"] == {"unit": "normalized", "min": [-1.0] * 3, "max": [1.0] * 3}


def test_hello_says_how_long_the_stance_is(small_bundle: Bundle) -> None:
    sessions = Sessions(small_bundle, replace(LIMITS, stance_ns=300_000_000), FIRST, dict, 0)
    assert Peer(sessions, b"first").hello().body["times"]["stance_ns"] == 300_000_000


def test_gains_come_in_the_controllers_order(peer: Peer) -> None:
    body = peer.hello(joints=["knee", "hip", "thigh"]).body
    for key, expected in (
        ("default_joint_position", [1.3, 0.0, -0.65]),
        ("stiffness", [32.0, 30.0, 31.0]),
        ("damping", [1.2, 1.0, 1.1]),
        ("fallback_damping", [2.7, 2.5, 2.6]),
    ):
        np.testing.assert_allclose(np.frombuffer(body[key], "<f4"), expected, rtol=1e-6)


def test_a_session_carries_the_controllers_order(peer: Peer, sessions: Sessions) -> None:
    controller = ["knee", "hip", "thigh"]
    peer.hello(joints=controller)
    session = peer.activate()
    order = sessions.joint_order
    assert order.setup.session == session
    assert not order.setup.raw
    assert [controller[index] for index in order.setup.policy_from_controller] == JOINTS
    np.testing.assert_allclose(order.limp.damping, [2.7, 2.5, 2.6], rtol=1e-6)
    np.testing.assert_array_equal(order.limp.stiffness, np.zeros(3))
    for values, expected in (
        (order.stance.position, [1.3, 0.0, -0.65]),
        (order.stance.stiffness, [32.0, 30.0, 31.0]),
        (order.stance.damping, [1.2, 1.0, 1.1]),
    ):
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_what_a_controller_tells_of_itself_is_shown_and_moves_nothing(peer: Peer, other: Peer) -> None:
    other.hello()
    peer.hello(account=ACCOUNT)
    session = peer.activate()
    peer.hello(account={**ACCOUNT, "session": session})
    status = other.ask("status").body
    assert status["accounts"] == [{"controller": "c", "owns": True, **ACCOUNT, "session": session}]
    assert (status["mode"], status["session"]) == ("active", session)
    assert status["deadline_s"] == LIMITS.deadline_ns / 1e9


def test_a_second_hello_does_not_change_the_running_session(peer: Peer, sessions: Sessions) -> None:
    peer.hello(joints=["knee", "hip", "thigh"])
    peer.activate()
    before = sessions.joint_order
    assert peer.hello(joints=["thigh", "hip", "knee"]).ok
    assert sessions.joint_order is before
    assert sessions.state.mode is Mode.ACTIVE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"joints": ["hip", "thigh"]}, ("'knee' is missing",)),
        ({"joints": [*JOINTS, "toe"]}, ("'toe' is unknown",)),
        ({"joints": ["hip", "hip", "knee"]}, ("'hip' is named 2 times",)),
        ({"joints": []}, ("'hip' is missing",)),
        ({"joints": ["hip", "thigh", "knee\n"]}, ("'knee' is missing",)),
        (
            {"fields": [field for field in FIELDS if field != "orientation"]},
            ("'orientation'", "does not fill"),
        ),
        ({"fields": []}, ("'angular_velocity'",)),
        ({"fields": [*FIELDS, "joint_torques"]}, ("'joint_torques'", "known are", "joint_torque")),
        ({"fields": ["inputs"], "message": "raw_observation"}, ("'inputs'",)),
        ({"message": "photo"}, ("message",)),
        ({"controller": 5}, ("controller",)),
        ({"colour": "red"}, ("colour",)),
        ({"account": None}, ("account",)),
        ({"account": {**ACCOUNT, "mode": 1}}, ("mode",)),
        ({"account": {**ACCOUNT, "damped_ns": -1}}, ("damped_ns",)),
        ({"account": {name: ACCOUNT[name] for name in ACCOUNT if name != "watched"}}, ("watched",)),
    ],
)
def test_a_hello_that_does_not_fit_is_refused_by_name(
    peer: Peer, changes: dict[str, Any], words: tuple[str]
) -> None:
    refused(peer.hello(**changes), Reason.CONTRACT, *words)
    refused(peer.ask("activate"), Reason.CONTRACT, "hello")


def test_a_policy_whose_observation_the_controller_makes(tmp_path: Path) -> None:
    manifest = small_manifest(format=2, observation={"raw_size": 7})
    bundle = open_bundle(write_small_bundle(tmp_path / "raw.gaitd", manifest))
    peer = Peer(make(bundle), b"raw")
    refused = peer.hello()
    assert (refused.ok, refused.body["reason"]) == (False, Reason.CONTRACT)
    assert "the policy's observation is made by the controller (raw_observation)" in refused.body["error"]
    reply = peer.hello(fields=[], message="raw_observation")
    assert reply.ok
    assert (reply.body["observation_dim"], reply.body["fields"]) == (7, [])


def test_a_raw_observation_needs_no_fields(peer: Peer, sessions: Sessions) -> None:
    reply = peer.hello(fields=[], message="raw_observation")
    assert reply.ok
    assert reply.body["fields"] == []
    peer.activate()
    assert sessions.joint_order.setup.raw


def test_activate_needs_a_hello_on_its_own_connection(peer: Peer, other: Peer) -> None:
    peer.hello()
    refused(other.ask("activate"), Reason.CONTRACT, "hello on the same connection")


def test_activate_needs_a_worker(small_bundle: Bundle) -> None:
    sessions = make(small_bundle, ready=False)
    peer = Peer(sessions, b"first")
    peer.hello()
    refused(peer.ask("activate"), Reason.BACKEND_ERROR, "not ready")
    assert sessions.state.mode is Mode.IDLE
    sessions.worker_ready = True
    assert peer.activate() == FIRST


def test_a_second_controller_cannot_take_over(peer: Peer, other: Peer, sessions: Sessions) -> None:
    peer.hello(controller="walker")
    session = peer.activate()
    before = sessions.state
    other.hello(joints=["knee", "hip", "thigh"])
    refused(other.ask("activate"), Reason.CONTRACT, f"session {session}", "'walker'", "active")
    refused(other.ask("release", session=session), Reason.CONTRACT, "another connection")
    refused(other.ask("release", session=session + 1), Reason.CONTRACT, "not the running one")
    refused(other.ask("damp", session=session + 1, reason=10), Reason.CONTRACT, "not the running one")
    assert sessions.state is before
    assert sessions.joint_order.setup.session == session


def test_the_owner_may_start_afresh(peer: Peer, sessions: Sessions) -> None:
    peer.hello()
    assert peer.activate() == FIRST
    assert peer.activate() == FIRST + 1
    assert sessions.state.session == FIRST + 1


def test_anyone_may_activate_after_damping(peer: Peer, other: Peer, sessions: Sessions) -> None:
    peer.hello()
    session = peer.activate()
    peer.ask("damp", session=session, reason=int(Reason.OPERATOR))
    other.hello()
    assert other.activate() == FIRST + 1
    assert sessions.state.limp_by is Reason.NONE
    refused(peer.ask("release", session=FIRST + 1), Reason.CONTRACT, "another connection")


def test_a_person_may_ask_for_damping_behind_another_reason(peer: Peer, sessions: Sessions) -> None:
    peer.hello()
    session = peer.activate()
    peer.ask("damp", session=session, reason=int(Reason.CLIENT_DEADLINE), detail="late")
    assert sessions.state.limp_by is Reason.NONE
    assert peer.ask("damp", session=session, reason=int(Reason.OPERATOR), detail="enough").ok
    state = sessions.state
    assert (state.reason, state.detail, state.limp_by) == (Reason.CLIENT_DEADLINE, "late", Reason.OPERATOR)


def test_release_ends_the_session_once(peer: Peer, sessions: Sessions) -> None:
    peer.hello()
    session = peer.activate()
    assert peer.ask("release", session=session).ok
    assert (sessions.state.mode, sessions.state.session) == (Mode.IDLE, 0)
    refused(peer.ask("release", session=session), Reason.CONTRACT, "not the running one")
    refused(peer.ask("release", session=0), Reason.CONTRACT, "not the running one")


@pytest.mark.parametrize("reason", [Reason.OPERATOR, Reason.CLIENT_DEADLINE])
@pytest.mark.parametrize("named", [True, False])
def test_damp_is_for_the_named_or_whatever_session(
    peer: Peer, other: Peer, sessions: Sessions, reason: Reason, named: bool
) -> None:
    peer.hello()
    session = peer.activate()
    asked = other.ask("damp", session=session if named else 0, reason=int(reason), detail="stop it")
    assert asked.ok
    state = sessions.state
    assert (state.mode, state.reason, state.detail, state.session) == (
        Mode.DAMPING,
        reason,
        "stop it",
        session,
    )


def test_damp_without_a_session_or_a_hello(peer: Peer, sessions: Sessions) -> None:
    assert peer.ask("damp", session=0, reason=int(Reason.OPERATOR)).ok
    assert (sessions.state.mode, sessions.state.session) == (Mode.DAMPING, 0)
    assert peer.ask("release", session=0).ok
    assert sessions.state.mode is Mode.IDLE
    peer.hello()
    peer.activate()
    assert sessions.state.mode is Mode.ACTIVE


def test_anybody_releases_a_damped_session_but_no_walking_one(
    peer: Peer, other: Peer, sessions: Sessions
) -> None:
    peer.hello()
    session = peer.activate()
    refused(other.ask("release", session=session), Reason.CONTRACT, "another connection")
    refused(other.ask("release", session=0), Reason.CONTRACT, "not the running one")
    assert sessions.state.mode is Mode.ACTIVE
    assert peer.ask("damp", session=session, reason=int(Reason.OPERATOR)).ok
    refused(other.ask("release", session=session + 1), Reason.CONTRACT, "not the running one")
    assert other.ask("release", session=session).ok
    assert sessions.state.mode is Mode.IDLE


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in (10, 11)] + [99, -1])
def test_damp_takes_no_other_reason(peer: Peer, sessions: Sessions, reason: int) -> None:
    refused(peer.ask("damp", session=0, reason=int(reason)), Reason.CONTRACT, str(int(reason)))
    assert sessions.state.mode is Mode.IDLE


def test_what_a_peer_writes_cannot_leave_its_line(peer: Peer, sessions: Sessions) -> None:
    """The detail goes to logs and to the service manager, where a line break would start another word."""
    peer.hello(controller="a\nb\x1b[31m" + "c" * 100)
    peer.ask("damp", session=0, reason=10, detail="stop\nREADY=0\r\x00\x1b[2J" + "x" * 200)
    assert sessions.state.detail.isprintable()
    assert len(sessions.state.detail) == 120
    assert all(name.isprintable() for name in peer.ask("status").body["controllers"])


def test_a_huge_hello_gets_an_answer_that_fits(peer: Peer) -> None:
    refused(peer.hello(joints=["x" * 60_000, "hip"]), Reason.CONTRACT, "joint")
    refused(peer.hello(**{"y" * 60_000: 1}), Reason.CONTRACT, "unknown field")
    refused(peer.ask("z" * 60_000), Reason.CONTRACT, "unknown request")


def test_an_unknown_request_names_the_known_ones(peer: Peer) -> None:
    refused(peer.ask("dance"), Reason.CONTRACT, "'dance'", "hello, activate, release, damp, switch, status")


@pytest.mark.parametrize("name", ["activate", "status"])
def test_a_body_where_none_belongs(peer: Peer, name: str) -> None:
    peer.hello()
    refused(peer.ask(name, session=1), Reason.CONTRACT, "session")


def test_status_tells_what_holds(peer: Peer, other: Peer) -> None:
    assert peer.ask("status").body == {
        "mode": "idle",
        "reason": "none",
        "detail": "",
        "cause": None,
        "session": 0,
        "mode_for_s": 1e-9,
        "damped_by": "",
        "owner": "",
        "controllers": [],
        "accounts": [],
        "deadline_s": 0.06,
        "extra": "status",
    }
    peer.hello(controller="walker")
    session = peer.activate()
    other.ask("damp", session=0, reason=int(Reason.OPERATOR), detail="enough")
    status = other.ask("status").body
    assert (status["mode"], status["reason"], status["detail"]) == ("damping", "operator", "enough")
    assert status["session"] == session
    assert (status["controllers"], status["owner"], status["damped_by"]) == (["walker"], "walker", "")


def test_idle_lasts_from_the_start_on(small_bundle: Bundle) -> None:
    sessions = Sessions(small_bundle, LIMITS, FIRST, dict, 1_000_000_000)
    peer = Peer(sessions, b"first", now_ns=4_000_000_000)
    assert peer.ask("status").body["mode_for_s"] == pytest.approx(3)


def test_status_names_who_damped(peer: Peer, other: Peer) -> None:
    peer.hello(controller="walker")
    other.hello(controller="remote\x1b")
    peer.activate()
    other.ask("damp", session=0, reason=int(Reason.OPERATOR))
    peer.ask("damp", session=0, reason=int(Reason.CLIENT_DEADLINE))
    assert peer.ask("status").body["damped_by"] == "remote "
    session = peer.activate()
    assert peer.ask("status").body["damped_by"] == ""
    peer.ask("damp", session=session, reason=int(Reason.CLIENT_DEADLINE))
    assert peer.ask("status").body["damped_by"] == "walker"
    peer.activate()
    peer.sessions.state = rules.damp(peer.sessions.state, Reason.CLIENT_DEADLINE, "not heard", 0)
    assert peer.ask("status").body["damped_by"] == "", "the guardian by itself"


def test_a_connection_that_is_gone_is_forgotten_but_not_its_walk(
    sessions: Sessions, peer: Peer, other: Peer
) -> None:
    peer.hello(controller="walker")
    other.hello(controller="dead")
    peer.activate()
    for identity in sessions.peers:
        sessions.forget(identity)
    status = peer.ask("status").body
    assert (status["mode"], status["controllers"], status["owner"]) == ("active", ["walker"], "walker")
    peer.ask("damp", session=0, reason=int(Reason.OPERATOR))
    for identity in sessions.peers:
        sessions.forget(identity)
    status = other.ask("status").body
    assert (status["controllers"], status["owner"]) == ([], "walker"), "its session is still that of somebody"


def test_only_so_many_hellos_are_remembered_and_the_owner_keeps_its_session(
    sessions: Sessions, peer: Peer
) -> None:
    peer.hello()
    session = peer.activate()
    for number in range(MAX_CONTROLLERS):
        Peer(sessions, b"guest %d" % number).hello()
    assert len(peer.ask("status").body["controllers"]) == MAX_CONTROLLERS
    guest = Peer(sessions, b"guest 3")
    refused(guest.ask("activate"), Reason.CONTRACT, "is active")
    assert peer.ask("release", session=session).ok
    assert peer.ask("activate").ok, "the owner's hello is not among those forgotten"


def test_the_order_before_the_first_session_is_the_policys(sessions: Sessions) -> None:
    assert sessions.joint_order.setup.session == 0
    np.testing.assert_allclose(sessions.joint_order.limp.damping, [2.5, 2.6, 2.7], rtol=1e-6)


def test_linear_velocity_is_asked_for_where_it_is_needed(tmp_path_factory: pytest.TempPathFactory) -> None:
    terms = [{"term": "base_linear_velocity"}, {"term": "last_action"}]
    path = tmp_path_factory.mktemp("linear") / "linear"
    bundle = open_bundle(write_small_bundle(path, small_manifest(observation={"terms": terms})))
    peer = Peer(make(bundle), b"first")
    refused(peer.hello(), Reason.CONTRACT, "'linear_velocity'")
    assert peer.hello(fields=["linear_velocity"]).ok


class Controllers(RuleBasedStateMachine):
    """Several controllers, asking for anything in any order."""

    bundle: Bundle

    @initialize()
    def begin(self) -> None:
        self.sessions = make(self.bundle)
        self.peers = [Peer(self.sessions, bytes([number])) for number in range(3)]
        self.numbers: list[int] = []
        self.owner: Peer | None = None
        self.greeted: set[bytes] = set()
        self.before = self.sessions.state

    peers_of = st.integers(0, 2)

    @rule(peer=peers_of, joints=st.permutations(JOINTS), good=st.booleans())
    def hello(self, peer: int, joints: list[str], good: bool) -> None:
        reply = self.peers[peer].hello(joints=joints if good else joints[:2])
        assert reply.ok == good
        if good:
            self.greeted.add(self.peers[peer].identity)

    @rule(peer=peers_of)
    def activate(self, peer: int) -> None:
        who, state = self.peers[peer], self.sessions.state
        allowed = (
            who.identity in self.greeted
            and self.sessions.worker_ready
            and (state.mode is not Mode.ACTIVE or who is self.owner)
        )
        reply = who.ask("activate")
        assert reply.ok == allowed
        if not allowed:
            assert self.sessions.state is state
            return
        self.numbers.append(reply.body["session"])
        self.owner = who
        assert self.sessions.state.session == self.numbers[-1]
        assert self.sessions.state.mode is Mode.ACTIVE

    @rule(peer=peers_of, back=st.integers(-1, 3))
    def release(self, peer: int, back: int) -> None:
        self.ask_about("release", peer, back, allowed_to_others=self.sessions.state.mode is Mode.DAMPING)

    @rule(
        peer=peers_of,
        back=st.integers(-1, 3),
        reason=st.sampled_from([Reason.OPERATOR, Reason.CLIENT_DEADLINE]),
    )
    def damp(self, peer: int, back: int, reason: Reason) -> None:
        self.ask_about("damp", peer, back, allowed_to_others=True, reason=int(reason))

    def ask_about(self, name: str, peer: int, back: int, *, allowed_to_others: bool, **body: Any) -> None:
        """Ask about the running session, an old one or one that never was."""
        who, state = self.peers[peer], self.sessions.state
        numbers = [FIRST + 500, *reversed(self.numbers)]
        session = numbers[min(back + 1, len(numbers) - 1)]
        allowed = session == state.session and (allowed_to_others or who is self.owner)
        reply = who.ask(name, session=session, **body)
        assert reply.ok == allowed
        if not allowed:
            assert self.sessions.state is state

    @rule(ready=st.booleans())
    def worker(self, ready: bool) -> None:
        self.sessions.worker_ready = ready

    @rule(peer=peers_of, name=st.sampled_from(["status", "dance", "", "activate "]))
    def anything_else(self, peer: int, name: str) -> None:
        state = self.sessions.state
        assert self.peers[peer].ask(name).ok == (name == "status")
        assert self.sessions.state is state

    @invariant()
    def session_numbers_only_rise(self) -> None:
        assert self.numbers == sorted(set(self.numbers))

    @invariant()
    def an_active_session_is_the_newest(self) -> None:
        if self.sessions.state.mode is Mode.ACTIVE:
            assert self.sessions.state.session == self.numbers[-1] == self.sessions.joint_order.setup.session

    @invariant()
    def damping_is_left_by_activate_and_release_alone(self) -> None:
        before, now = self.before, self.sessions.state
        # That somebody asked for damping while it was on is noted, and nothing else.
        noted = replace(before, limp_by=now.limp_by)
        if before.mode is Mode.DAMPING and now != noted:
            assert now.mode is Mode.IDLE or now.session > before.session
        self.before = now


@pytest.fixture(scope="module", autouse=True)
def _controllers_have_a_bundle(small_bundle: Bundle) -> None:
    Controllers.bundle = small_bundle


TestControllers = Controllers.TestCase
TestControllers.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
