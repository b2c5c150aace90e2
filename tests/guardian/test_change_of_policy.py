"""The real guardian with two policies, over real memory: what it writes when a session changes its policy."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from gaitd.guardian.switching import FRESH
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.shared import lease
from gaitd.shared.events import EventKind
from gaitd.shared.findings import Finding
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.config import Config, Standby
from gaitd.wire.causes import Cause
from gaitd.wire.control import Reply
from gaitd.wire.generated import CauseKind, Mode, Reason
from support.bundles import contract, small_manifest
from support.controller import ALL_FIELDS
from support.looped_guardian import LoopedGuardian

PERIOD = 12_000_000
TROT = 2
"""The slot of the second policy's worker."""


def bundle_of(name: str, digit: str, stiffness: float) -> Any:
    plain = small_manifest(name=name, control_period_s=PERIOD / 1e9)
    plain["action"]["stiffness_nm_per_rad"] = stiffness
    manifest = contract(plain)
    return SimpleNamespace(
        manifest=manifest,
        policy_id=digit * 16,
        id=digit * 64,
        files={"manifest.yaml": b"m"},
        path=Path(f"{name}.gaitd"),
        pipeline=lambda: PolicyPipeline(manifest, None),
    )


class Scene:
    """A guardian with the policies ``walk``, which has a standby, and ``trot``; a session walks."""

    def __init__(self, *, agrees: bool = False, message: str = "state", over_network: bool = False) -> None:
        self.now_ns = 10**12
        self.replies: list[Reply] = []
        walk, trot = bundle_of("walk", "a", 30.0), bundle_of("trot", "b", 40.0)
        with mock.patch.object(time, "monotonic_ns", return_value=self.now_ns):
            self.guardian = LoopedGuardian(
                walk, lambda data: None, Config(standby=Standby(mode="on")), [trot]
            )
        self.guardian.over_network = over_network
        self.real = self.guardian._guardian
        self.memory = {
            slot: WorkerMemory(worker.memory.fd, writable=True)
            for slot, worker in self.real._workers.by_slot.items()
        }
        consent = {"switchable": True} if agrees else {}
        joints = walk.manifest.joints
        self.hello = {"controller": "scene", "joints": joints, "fields": ALL_FIELDS, "message": message}
        self.ask("hello", **self.hello, **consent)
        self.ask("activate")
        self.wake()
        self.walks(0)

    def ask(self, name: str, **body: Any) -> Reply:
        self.guardian.ask(name, self.replies.append, **body)
        self.wake()
        return self.replies[-1]

    def wake(self, after_ns: int = PERIOD // 4) -> None:
        self.now_ns += after_ns
        for memory in self.memory.values():
            memory.words["heartbeat_ns"] = self.now_ns
        # What is heard of processes is none of this test's.
        patches = [mock.patch.object(each, "look", return_value=None) for each in self.real._workers.all]
        with mock.patch.object(time, "monotonic_ns", return_value=self.now_ns):
            for patch in patches:
                patch.start()
            for write in self.guardian.wake(self.now_ns):
                write()
            for patch in patches:
                patch.stop()

    def walks(self, slot: int) -> None:
        """That worker sends a command, and the others have an answer to the state."""
        for each, memory in self.memory.items():
            if each == slot:
                memory.words["last_command_epoch"] = self.state.epoch
                memory.words["last_command_ns"] = self.now_ns
            else:
                memory.words["prepared_ns"] = self.now_ns
                memory.words["prepared_epoch"] = self.state.epoch
        self.wake()

    def dies(self, slot: int) -> None:
        with mock.patch.object(time, "monotonic_ns", return_value=self.now_ns):
            for write in self.guardian.worker_dies(slot, self.now_ns):
                write()

    def holder(self) -> int | None:
        """The slot whose commands may be published now."""
        word, setup = self.guardian.memory.lease, self.guardian.memory.read_session()
        assert setup is not None
        return setup.slot if lease.permits(word, setup.epoch, setup.slot, self.now_ns) else None

    @property
    def state(self) -> Any:
        return self.real._sessions.state


@pytest.fixture
def make() -> Iterator[Callable[..., Scene]]:
    """Scenes, whose descriptors are given back."""
    made: list[Scene] = []

    def another(**options: Any) -> Scene:
        made.append(Scene(**options))
        return made[-1]

    yield another
    for each in made:
        each.guardian.close()


@pytest.fixture
def scene(make: Callable[..., Scene]) -> Scene:
    return make()


def test_the_lease_goes_to_the_other_policys_worker_under_a_new_epoch(scene: Scene) -> None:
    before = scene.state
    reply = scene.ask("switch", policy="trot")
    assert reply.ok
    assert reply.body["policy"] == 1
    assert scene.holder() == TROT
    written = scene.guardian.memory.read_session()
    assert written is not None
    assert (written.session, written.epoch, written.slot) == (before.session, before.epoch + 1, TROT)
    assert (reply.body["session"], reply.body["epoch"]) == (before.session, before.epoch + 1)
    assert scene.state.fed_ns == scene.memory[0].words["last_command_ns"]
    assert scene.guardian.memory.words["switches"] == 1
    assert sum(scene.guardian.memory.words.row("failovers")) == 0
    events, _ = scene.guardian.memory.events.read_since(0)
    (event,) = [event for event in events if event.kind is EventKind.SWITCH]
    assert (event.epoch, event.code, event.seq) == (before.epoch + 1, 1, Config().switch.blend_steps)
    assert "trot 1.0.0" in event.text


def test_without_a_command_of_the_new_one_the_deadline_ends_it_when_it_would_have(scene: Scene) -> None:
    last_ns = scene.memory[0].words["last_command_ns"]
    assert scene.ask("switch", policy="trot").ok
    scene.memory[0].words["last_command_ns"] = scene.now_ns  # a late word of the one before
    while scene.state.mode is Mode.ACTIVE:
        assert scene.now_ns - last_ns <= 5 * PERIOD
        scene.wake()
    assert scene.now_ns - last_ns <= 5 * PERIOD + PERIOD // 4
    assert scene.holder() is None


def test_where_the_new_one_dies_before_its_first_command_the_old_one_goes_on(scene: Scene) -> None:
    before = scene.state
    assert scene.ask("switch", policy="trot").ok
    fed_ns = scene.state.fed_ns
    scene.dies(TROT)
    assert scene.holder() == 0
    written = scene.guardian.memory.read_session()
    assert written is not None
    assert (written.session, written.epoch) == (before.session, before.epoch + 2)
    assert scene.state.fed_ns == fed_ns, "nothing but a command feeds the timer"
    scene.walks(0)
    # That was all: the next death is one like any other.
    scene.real._workers.by_slot[1].ready = False
    scene.dies(0)
    assert (scene.state.mode, scene.state.reason) == (Mode.DAMPING, Reason.WORKER_DIED)


@pytest.mark.parametrize(("pause", "after"), [(1, 2), (3, 1)])
def test_where_the_new_one_says_nothing_the_old_one_goes_on_in_time(
    scene: Scene, pause: int, after: int
) -> None:
    """After a pause of the controller, too, it has time to answer: the rule is that of a failover."""
    assert scene.ask("switch", policy="trot").ok
    last_ns, given_up = scene.state.fed_ns, mock.Mock()
    scene.real._workers.by_slot[TROT].give_up = given_up
    came_ns = last_ns + pause * PERIOD
    while scene.holder() == TROT:
        if scene.now_ns >= came_ns:
            scene.memory[0].words["unanswered_ns"] = came_ns
            scene.memory[0].words["prepared_epoch"] = scene.state.epoch
            scene.memory[0].words["prepared_ns"] = scene.now_ns
        scene.wake()
    assert after * PERIOD < scene.now_ns - came_ns <= after * PERIOD + PERIOD // 4
    assert scene.holder() == 0
    given_up.assert_called_once()
    scene.walks(0)
    for _ in range(20):
        scene.walks(0)
    assert scene.state.mode is Mode.ACTIVE


def test_where_states_are_lost_nobody_is_taken_to_fail(scene: Scene) -> None:
    assert scene.ask("switch", policy="trot").ok
    given_up = mock.Mock()
    scene.real._workers.by_slot[TROT].give_up = given_up
    while scene.state.mode is Mode.ACTIVE:
        assert scene.holder() == TROT
        scene.wake()
    assert scene.state.reason is Reason.STATE_LOST
    given_up.assert_not_called()


@pytest.mark.parametrize("what", ["the old one is not ready", "a limit", "it has moved to the standby"])
def test_what_is_not_undone(scene: Scene, what: str) -> None:
    assert scene.ask("switch", policy="trot").ok
    if what == "a limit":
        scene.memory[TROT].trip.write(Finding(scene.now_ns, scene.state.epoch, Cause(CauseKind.SLEW_LIMIT)))
    elif what == "the old one is not ready":
        scene.real._workers.by_slot[0].ready = False
    else:
        scene.walks(TROT)
        assert scene.ask("switch", policy="walk").ok
        scene.walks(0)
        scene.dies(0)
        assert scene.holder() == 1
    scene.dies(scene.state.slot)
    assert (scene.state.mode, scene.state.reason) == (Mode.DAMPING, Reason.WORKER_DIED)


def test_there_and_back_and_the_standby_is_still_there_once(scene: Scene) -> None:
    for policy, slot in (("trot", TROT), ("walk", 0), ("trot", TROT), ("walk", 0)):
        assert scene.ask("switch", policy=policy).ok
        scene.walks(slot)
        assert scene.holder() == slot
    scene.dies(0)
    assert scene.holder() == 1
    scene.walks(1)
    # The lease has failed over: that the policy changes does not bring that back.
    for policy, slot in (("trot", TROT), ("walk", 1)):
        assert scene.ask("switch", policy=policy).ok
        scene.walks(slot)
        assert scene.holder() == slot
    scene.dies(1)
    assert (scene.state.mode, scene.state.reason) == (Mode.DAMPING, Reason.WORKER_DIED)


@pytest.mark.parametrize("fresh_is_ready", [True, False])
def test_after_a_failover_the_first_policy_is_the_standbys_for_the_session(
    scene: Scene, fresh_is_ready: bool
) -> None:
    """A fresh worker gets the next one, whether it is ready meanwhile or not."""
    scene.dies(0)
    scene.walks(1)
    scene.real._workers.by_slot[0].ready = fresh_is_ready
    assert scene.ask("switch", policy="trot").ok
    scene.walks(TROT)
    status = scene.real._status()
    walk, trot = status["policies"]
    assert (walk["pid"], walk["standby"]) == (status["standby"]["pid"], False)
    assert trot["walks"]
    assert scene.ask("switch", policy="walk").ok
    assert scene.holder() == 1
    scene.dies(1)
    assert scene.holder() == TROT, "the change is undone, to the worker that it came from"
    scene.walks(TROT)
    scene.dies(TROT)
    assert scene.state.mode is Mode.DAMPING
    assert scene.real._status()["policies"][0]["standby"], "of the next session"
    scene.real._workers.by_slot[0].ready = True
    scene.wake()
    assert scene.ask("activate").body["slot"] == 0


def test_the_standby_hears_at_once_for_whom_it_stands_by(scene: Scene) -> None:
    """Until it has seen that, a death of the one that it stands by for is damping."""
    wake_fd = scene.real._workers._wake_fds[1]
    assert scene.ask("switch", policy="trot").ok
    scene.walks(TROT)
    assert not select.select([wake_fd], [], [], 0)[0]
    assert scene.ask("switch", policy="walk").ok
    assert select.select([wake_fd], [], [], 0)[0]


def last_worker(scene: Scene) -> tuple[str, str, int]:
    status = scene.real._status()
    return status["last_worker"], status["failover"], scene.guardian.memory.words["last_worker"]


def test_people_hear_of_the_last_worker_where_it_walks(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the journal, the status, the metrics' memory and systemd's line: it is decided once."""
    monkeypatch.setattr(logging.getLogger("gaitd"), "propagate", True)
    caplog.set_level(logging.INFO)
    say = scene.real._service.say_status = mock.Mock()
    assert last_worker(scene) == ("", "", 0)
    assert scene.ask("switch", policy="trot").ok
    scene.walks(TROT)
    assert last_worker(scene) == ("its policy has no standby", "", 1)
    assert scene.real._status()["holder"] == TROT
    assert 'ON THE LAST WORKER why="its policy has no standby"' in caplog.text
    assert say.call_args.args[0].endswith(
        "; policy trot 1.0.0 on onnx; LAST WORKER: its policy has no standby"
    )
    assert scene.ask("switch", policy="walk").ok
    scene.walks(0)
    assert last_worker(scene) == ("", "", 0)
    assert "is ready again" not in caplog.text, "it never was not"
    assert "LAST WORKER" not in say.call_args.args[0]
    scene.dies(0)
    scene.walks(1)
    alone, failover, word = last_worker(scene)
    assert (alone, word) == ("it is the standby", 1)
    assert "a fresh worker is not ready yet, for the next session" in failover
    assert scene.ask("switch", policy="trot").ok
    scene.walks(TROT)
    alone, failover, word = last_worker(scene)
    assert (alone, word) == ("its policy has no standby", 1)
    assert failover.startswith("the standby (CPU) took over at")
    assert "not ready (start" not in say.call_args.args[0], "trot's worker is"


def test_the_death_of_the_new_one_is_damping_and_that_of_the_old_one_nothing(scene: Scene) -> None:
    assert scene.ask("switch", policy="trot").ok
    scene.walks(TROT)
    scene.dies(0)
    assert scene.holder() == TROT
    scene.dies(TROT)
    assert (scene.state.mode, scene.state.reason) == (Mode.DAMPING, Reason.WORKER_DIED)
    assert scene.holder() is None


def test_a_trip_of_the_new_one_before_it_got_the_session_counts_for_nothing(scene: Scene) -> None:
    """It judges what it would have asked for; nobody did."""
    trip = Finding(scene.now_ns, scene.state.epoch, Cause(CauseKind.SLEW_LIMIT))
    scene.memory[TROT].trip.write(trip)
    scene.walks(0)
    assert scene.ask("switch", policy="trot").ok
    scene.walks(TROT)
    assert scene.holder() == TROT


@pytest.mark.parametrize("agrees", [False, True])
def test_others_change_the_policy_only_where_the_controller_agreed(
    make: Callable[..., Scene], agrees: bool
) -> None:
    scene = make(agrees=agrees)
    sessions = scene.real._sessions
    sessions._owner, hello = b"somebody", sessions._hellos[b"controller"]
    sessions._hellos[b"somebody"] = hello
    reply = scene.ask("switch", policy="trot")
    assert reply.ok == agrees
    assert agrees or "has not agreed" in reply.body["error"]
    assert scene.holder() == (TROT if agrees else 0)


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("gallop", "no policy is called 'gallop'; loaded are walk 1.0.0 (aaaaaaaaaaaaaaaa), trot"),
        ("", "no policy is called ''"),
    ],
)
def test_a_policy_that_is_none(scene: Scene, policy: str, why: str) -> None:
    before = scene.state
    assert why in scene.ask("switch", policy=policy).body["error"]
    assert scene.state == before


def test_it_may_be_named_by_its_id(scene: Scene) -> None:
    assert scene.ask("switch", policy="bbbb").body["name"] == "trot"


def test_to_the_policy_that_walks_nothing_changes(scene: Scene) -> None:
    epoch = scene.state.epoch
    assert scene.ask("switch", policy="walk").ok
    assert (scene.state.epoch, scene.holder()) == (epoch, 0)
    scene.dies(0)
    scene.walks(1)
    assert scene.ask("switch", policy="walk").ok, "its standby runs it, too"
    assert scene.holder() == 1


def test_a_refused_change_leaves_the_worker_walking(scene: Scene) -> None:
    before = scene.state
    scene.memory[TROT].words["prepared_epoch"] = 0
    reply = scene.ask("switch", policy="trot")
    assert "no change to policy trot: its worker has no answer" in reply.body["error"]
    scene.real._workers.by_slot[TROT].ready = False
    assert "its worker is not ready" in scene.ask("switch", policy="trot").body["error"]
    assert (scene.state.epoch, scene.state.slot, scene.holder()) == (before.epoch, 0, 0)
    assert scene.guardian.memory.words["switches"] == 0
    for _ in range(20):
        scene.walks(0)
    assert scene.state.mode is Mode.ACTIVE


def test_a_change_under_way_is_not_changed_again(scene: Scene) -> None:
    assert scene.ask("switch", policy="trot").ok
    assert "has sent no command yet" in scene.ask("switch", policy="walk").body["error"]
    scene.memory[TROT].words["fading"] = 1
    scene.walks(TROT)
    assert "still under way" in scene.ask("switch", policy="walk").body["error"]
    scene.memory[TROT].words["fading"] = 0
    scene.walks(TROT)
    assert scene.ask("switch", policy="walk").ok


def test_a_worker_that_is_silent_keeps_the_session(scene: Scene) -> None:
    scene.real._workers.by_slot[1].ready = False  # its standby would have it
    while scene.now_ns - scene.memory[0].words["last_command_ns"] <= 5 * PERIOD * FRESH:
        scene.memory[TROT].words["prepared_ns"] = scene.now_ns
        scene.wake()
    assert "may fail" in scene.ask("switch", policy="trot").body["error"]


def test_ready_made_observations_are_of_one_policy(make: Callable[..., Scene]) -> None:
    scene = make(message="raw_observation")
    assert "builds the observations" in scene.ask("switch", policy="trot").body["error"]


@pytest.mark.parametrize("message", ["raw_observation", "state"])
def test_a_session_is_with_the_policy_that_the_hello_agreed_on(
    make: Callable[..., Scene], message: str
) -> None:
    """Observations, default pose and gains are that one's."""
    scene = make(message=message)
    scene.ask("release", session=scene.state.session)
    assert scene.ask("switch", policy="trot").ok
    refused = scene.ask("activate")
    assert "agreed on policy walk, and sessions begin with trot by now: say hello" in refused.body["error"]
    assert scene.state.mode is Mode.IDLE
    assert scene.ask("hello", **scene.hello).ok
    assert scene.ask("activate").body["slot"] == TROT


def test_over_tcp_only_the_first_policy_is_reached(make: Callable[..., Scene]) -> None:
    scene = make(over_network=True)
    assert [each["slot"] for each in scene.ask("hello", **scene.hello).body["endpoints"]] == [0]
    assert "over TCP, where it reaches one worker" in scene.ask("switch", policy="trot").body["error"]
    scene.ask("release", session=scene.state.session)
    assert scene.ask("switch", policy="trot").body["slot"] == TROT
    assert scene.ask("hello", **scene.hello).ok
    refused = scene.ask("activate").body["error"]
    assert "over TCP only walk can be reached: gaitctl switch walk" in refused
    assert scene.state.mode is Mode.IDLE


def test_a_name_that_is_another_policys_id_is_ambiguous(scene: Scene) -> None:
    scene.real._sessions._policies[1].title["name"] = "a" * 16
    assert "several policies are called" in scene.ask("switch", policy="a" * 16).body["error"]


def test_while_idle_it_is_what_the_next_session_begins_with(scene: Scene) -> None:
    scene.ask("release", session=scene.state.session)
    assert scene.state.mode is Mode.IDLE
    assert scene.ask("switch", policy="trot").body["session"] == 0
    hello = scene.ask("hello", controller="scene", joints=["hip", "thigh", "knee"], fields=ALL_FIELDS)
    assert hello.body["policy"] == 1
    assert [each["name"] for each in hello.body["policies"]] == ["walk", "trot"]
    assert np.frombuffer(hello.body["stiffness"], "<f4")[0] == 40.0
    reply = scene.ask("activate")
    assert reply.body["slot"] == TROT
    assert scene.holder() == TROT
    scene.ask("release", session=scene.state.session)
    scene.real._workers.by_slot[TROT].ready = False
    assert not scene.ask("activate").ok
    assert "its worker is not ready" in scene.ask("switch", policy="trot").body["error"]
    assert scene.ask("switch", policy="walk").ok
    assert scene.ask("hello", **scene.hello).ok
    assert scene.ask("activate").body["slot"] == 0


def test_in_damping_nothing_is_changed(scene: Scene) -> None:
    scene.ask("damp", session=0, reason=int(Reason.OPERATOR))
    assert "in damping" in scene.ask("switch", policy="trot").body["error"]
