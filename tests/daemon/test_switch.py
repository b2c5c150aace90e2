"""Several policies in one gaitd: a session goes from one to another, or stays where it is."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest

from gaitd.ctl.cli import main as gaitctl
from gaitd.ctl.client import ControlClient
from gaitd.wire.control import Reply
from gaitd.wire.generated import Mode
from gaitd.wire.messages import JointCommand
from support.bundles import small_manifest, write_small_bundle
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until

SLEW = 0.02
STEPS = 10
CONFIG = f'{PATIENT}\n[standby]\nmode = "on"\n\n[switch]\nblend_steps = {STEPS}\n'
FIRST_STIFFNESS, OTHER_STIFFNESS = 30.0, 40.0


def manifest_of(name: str, stiffness: float, offset: float) -> dict[str, Any]:
    plain = small_manifest(name=name)
    plain["limits"]["slew"] = {"max_rad_per_step": SLEW, "response": "damp"}
    # It moves slowly enough for its own limit, which damps.
    plain["action"] |= {"scale": 0.002, "stiffness_nm_per_rad": stiffness}
    plain["default_joint_position_rad"] = [offset, -0.65 + offset, 1.3 + offset]
    return plain


@pytest.fixture(scope="module")
def gaitd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gaitd]:
    """One with the policies ``walk`` and ``trot``; a standby has only the first."""
    scratch = tmp_path_factory.mktemp("policies")
    walk, trot = (
        write_small_bundle(scratch / f"{name}.gaitd", manifest_of(name, stiffness, offset))
        for name, stiffness, offset in (("walk", FIRST_STIFFNESS, 0.0), ("trot", OTHER_STIFFNESS, 0.05))
    )
    with Gaitd(walk, "--bundle", str(trot), config=CONFIG) as daemon:
        yield daemon.wait_ready()


@pytest.fixture
def walker(gaitd: Gaitd) -> Iterator[Controller]:
    """A controller in a session with the first policy, and the others' workers follow."""
    wait_until(lambda: all_ready(gaitd), 30.0, "all workers")
    controller = gaitd.controller(name="walker")
    controller.control.ask("switch", policy="walk")
    controller.activate()
    assert any(controller.walk(8))
    yield controller
    controller.control.ask("release", session=controller.session)
    controller.control.ask("release", session=0)
    controller.control.ask("switch", policy="walk")
    controller.close()


def all_ready(gaitd: Gaitd) -> bool:
    status = gaitd.status()
    return bool(status["standby"]["ready"]) and all(policy["ready"] for policy in status["policies"])


def pids(gaitd: Gaitd) -> list[int]:
    return [int(policy["pid"]) for policy in gaitd.status()["policies"]]


def switch(walker: Controller, policy: str) -> Reply:
    return walker.control.ask("switch", policy=policy)


def walk_on(
    walker: Controller, policy: int, *, settled: bool = True, undone_after: int | None = None
) -> list[JointCommand]:
    """Walk until commands are that policy's, and none is on its way from another one; all commands.

    Or until they are of a later epoch than ``undone_after``.
    """
    answers = []
    for _ in range(400):
        answer = walker.step()
        if answer is None:
            continue
        assert answer.mode is Mode.ACTIVE, answer
        answers.append(answer)
        arrived = answer.stiffness[0] in (FIRST_STIFFNESS, OTHER_STIFFNESS) or not settled
        undone = undone_after is not None and answer.epoch > undone_after
        if undone or (answer.policy == policy and arrived):
            return answers
    raise AssertionError(f"policy {policy} did not come in 400 steps")


def changed(walker: Controller, policy: str, number: int) -> list[JointCommand]:
    """Change the policy in mid-walk; the commands from the last one of the policy before.

    A worker that a busy machine holds up for half a deadline loses what it has just got; then once more.
    """
    for _ in range(3):
        before = walk_on(walker, 1 - number)[-1]
        reply = switch(walker, policy)
        assert reply.ok, reply.body
        answers = walk_on(walker, number, undone_after=reply.body["epoch"])
        if answers[-1].policy == number:
            break
    return [before, *answers]


def test_hello_lists_them_and_the_endpoints_of_all(gaitd: Gaitd) -> None:
    reply = gaitd.connect().hello()
    assert [policy["name"] for policy in reply["policies"]] == ["walk", "trot"]
    assert reply["policy"] == 0
    assert [endpoint["slot"] for endpoint in reply["endpoints"]] == [0, 1, 2]


def test_status_names_the_policies_and_who_has_no_standby(
    gaitd: Gaitd, walker: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    walk, trot = gaitd.status()["policies"]
    assert (walk["walks"], walk["standby"], walk["first"]) == (True, True, True)
    assert (trot["walks"], trot["standby"], trot["first"]) == (False, False, False)
    assert gaitctl(["--runtime-dir", str(gaitd.runtime_dir), "status"]) == 0
    said = capsys.readouterr().out
    assert "trot 1.0.0" in said
    assert "no standby: a failure of its worker ends in damping" in said
    assert re.search(r"^standby +ready, pid \d+, start 1, onnx, of policy walk;", said, re.MULTILINE)
    assert re.search(r"^states .*, before activate \d+,", said, re.MULTILINE)
    assert "LAST WORKER" not in said


def test_a_policy_without_a_standby_walks_on_the_last_worker(
    gaitd: Gaitd, walker: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(walker, "trot", 1)
    status = gaitd.status()
    assert (status["holder"], status["last_worker"]) == (2, "its policy has no standby")
    walk_on(walker, 1)
    assert gaitd.metrics()["gaitd_last_worker"] == 1
    with mock.patch.object(ControlClient, "demand", return_value=status):
        assert gaitctl(["--runtime-dir", str(gaitd.runtime_dir), "status"]) == 0
    said = capsys.readouterr().out
    assert "LAST WORKER its policy has no standby" in said
    assert re.search(r"^standby +runs, ", said, re.MULTILINE)


def test_while_idle_the_next_session_begins_with_it(
    gaitd: Gaitd, walker: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    walker.control.demand("release", session=walker.session)
    assert gaitctl(["--runtime-dir", str(gaitd.runtime_dir), "switch", "trot"]) == 0
    assert "is what the next session begins with" in capsys.readouterr().out
    assert walker.hello()["policy"] == 1
    assert np.frombuffer(walker.contract["stiffness"], "<f4")[0] == OTHER_STIFFNESS
    walker.activate()
    first = walk_on(walker, 1)[0]
    assert (first.policy, first.slot, first.stiffness[0]) == (1, 2, OTHER_STIFFNESS)


def test_in_mid_walk_targets_and_gains_blend(walker: Controller) -> None:
    """There and back, twice: each step within the slew limit, whose response would be damping."""
    for policy, number, stiffness in 2 * [("trot", 1, OTHER_STIFFNESS), ("walk", 0, FIRST_STIFFNESS)]:
        answers = changed(walker, policy, number)
        epochs = [answer.epoch for answer in answers]
        assert epochs == sorted(epochs)
        assert epochs[-1] == epochs[0] + 1
        blend = [answer for answer in answers if answer.epoch == epochs[-1]]
        # One of them may have been missed on a busy machine.
        before = FIRST_STIFFNESS + OTHER_STIFFNESS - stiffness
        shares = [(float(answer.stiffness[0]) - before) / (stiffness - before) * STEPS for answer in blend]
        assert shares == pytest.approx([round(share) for share in shares], abs=1e-3)
        assert shares == sorted(set(shares))
        assert round(shares[-1]) == STEPS
        assert len(shares) > 1
        for one, next_one in itertools.pairwise(answers):
            if next_one.seq == one.seq + 1:
                assert np.abs(next_one.joint_position - one.joint_position).max() <= SLEW + 1e-6
        # And it goes on like that.
        for answer in walker.walk(5):
            assert answer is None or (answer.policy, answer.stiffness[0]) == (number, stiffness)


def test_gaitctl_needs_the_controllers_consent_in_mid_walk(
    gaitd: Gaitd, walker: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--runtime-dir", str(gaitd.runtime_dir), "switch", "trot"]
    walker.walk(3)
    assert gaitctl(command) != 0
    assert "has not agreed" in capsys.readouterr().err
    assert gaitd.status()["policy"]["name"] == "walk"
    walker.hello(switchable=True)
    walker.walk(3)
    assert gaitctl(command) == 0
    assert "trot 1.0.0" in (said := capsys.readouterr().out)
    assert "walks from now on" in said
    walk_on(walker, 1)
    assert gaitctl(command) == 0
    assert "walks already" in capsys.readouterr().out
    assert gaitd.status()["policy"]["name"] == "trot"
    assert gaitd.metrics()["gaitd_policy_switches_total"] >= 1


def test_a_change_that_is_refused_says_why_and_changes_nothing(gaitd: Gaitd, walker: Controller) -> None:
    reply = switch(walker, "gallop")
    assert "no policy is called 'gallop'; loaded are walk 1.0.0" in reply.body["error"]
    os.kill(pids(gaitd)[1], signal.SIGKILL)
    for _ in range(200):
        reply = switch(walker, "trot")
        if not reply.ok and "not ready" in reply.body["error"]:
            break
        walk_on(walker, 0, settled=False)
    assert "not ready" in reply.body["error"]
    epoch = walk_on(walker, 0)[-1].epoch
    assert all(answer is None or answer.epoch == epoch for answer in walker.walk(5))


def test_the_old_policys_worker_dies_in_mid_fade(gaitd: Gaitd, walker: Controller) -> None:
    """Its last target stands in: nothing more of it is needed. It comes back, and takes over again."""
    old = pids(gaitd)[0]
    assert switch(walker, "trot").ok
    walk_on(walker, 1, settled=False)
    os.kill(old, signal.SIGKILL)
    answers = walk_on(walker, 1)
    assert answers[-1].stiffness[0] == OTHER_STIFFNESS
    assert gaitd.status()["failover"] == ""
    for _ in range(2000):
        walker.walk(5)
        reply = switch(walker, "walk")
        if reply.ok:
            break
    assert reply.ok, reply.body
    walk_on(walker, 0)


def test_a_change_takes_nothing_from_the_standby(gaitd: Gaitd, walker: Controller) -> None:
    """There and back; then the first policy's worker is killed at its first command; its standby goes on."""
    first = pids(gaitd)[0]
    changed(walker, "trot", 1)
    assert switch(walker, "walk").ok
    walk_on(walker, 0, settled=False)
    os.kill(first, signal.SIGKILL)
    for _ in range(400):
        answer = walker.step()
        assert answer is None or answer.mode is Mode.ACTIVE
        if answer is not None and answer.slot == 1:
            break
    assert answer is not None
    assert (answer.slot, answer.policy) == (1, 0)
    # From the standby, too, the session goes on with the other policy.
    walker.walk(3)
    changed(walker, "trot", 1)
    # And the way back is to the standby, though there is a fresh worker: that one gets the next session.
    until_s = time.monotonic() + 30.0
    while not gaitd.status()["worker"]["ready"]:
        assert time.monotonic() < until_s
        walker.walk(5)
    assert changed(walker, "walk", 0)[-1].slot == 1


def test_the_new_policys_worker_dies(gaitd: Gaitd, walker: Controller) -> None:
    changed(walker, "trot", 1)
    os.kill(pids(gaitd)[1], signal.SIGKILL)
    for _ in range(400):
        answer = walker.step()
        if answer is not None and answer.mode is Mode.DAMPING:
            break
    assert gaitd.status()["reason"] == "worker_died"
    assert "in damping" in switch(walker, "walk").body["error"]
