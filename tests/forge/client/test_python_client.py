"""The Python client with a real gaitd."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq

from gaitd.errors import GaitdError, InputError, UnreachableError
from gaitd.wire.codec import encode_command
from gaitd.wire.endpoints import local_endpoint
from gaitd.wire.generated import Mode, Reason
from gaitforge.client import Client, Refusal, Sample
from support.daemon import PATIENT, Gaitd, wait_until
from support.reference import EXAMPLE_BUNDLE

ROOT = Path(__file__).parents[3]
JOINTS = ("knee", "hip", "thigh")


@pytest.fixture(scope="module")
def daemon(small_bundle_path: Path) -> Iterator[Gaitd]:
    with Gaitd(small_bundle_path, config=PATIENT) as gaitd:
        yield gaitd.wait_ready()


@pytest.fixture
def client(daemon: Gaitd) -> Iterator[Client]:
    with Client(JOINTS, daemon.runtime_dir, name="notebook") as client:
        client.hello()
        settle(client, daemon)
        yield client
        with Client(JOINTS, daemon.runtime_dir) as other:
            other.hello()
            other.damp()
            other.release()


def settle(client: Client, daemon: Gaitd) -> None:
    """Without a session: return once the client's states reach gaitd."""
    before = daemon.status()["counters"]["standby"]

    def arrived() -> bool:
        step(client)
        return bool(daemon.status()["counters"]["standby"] > before)

    wait_until(arrived, what="the client's states")


def step(client: Client) -> None:
    """One control period of a robot that stands, with a little noise."""
    noise = np.random.default_rng(client.published).normal(scale=0.01, size=len(JOINTS))
    until_s = time.monotonic() + client.contract.period_s
    client.publish(
        Sample(
            joint_position=client.contract.default_joint_position + noise,
            joint_velocity=noise,
            orientation=(1.0, 0.0, 0.0, 0.0),
            angular_velocity=(0.0, 0.0, 0.0),
        )
    )
    while (left_s := until_s - time.monotonic()) > 0:
        client.wait(left_s)
        client.command()


def walk(client: Client, mode: Mode, what: str) -> None:
    """Control periods until the client's command has that mode."""

    def has_mode() -> bool:
        step(client)
        return client.command().mode is mode

    wait_until(has_mode, what=what)


def test_it_walks_and_ends_its_session(client: Client, daemon: Gaitd) -> None:
    contract = client.contract
    assert (contract.policy.name, contract.period_s, contract.joints) == (
        "small",
        0.012,
        ("hip", "thigh", "knee"),
    )
    assert client.command().mode is Mode.IDLE
    session = client.activate()
    walk(client, Mode.ACTIVE, "a command")
    command = client.command()
    assert (command.session, client.session) == (session, session)
    assert command.stiffness.tolist() == [32.0, 30.0, 31.0], "in the client's order"
    assert daemon.status()["owner"] == "notebook"
    client.release()
    assert (client.session, client.command().mode) == (0, Mode.IDLE)
    assert daemon.status()["mode"] == "idle"


def test_it_is_damped_when_gaitd_says_so_and_walks_again_in_a_new_session(
    client: Client, daemon: Gaitd
) -> None:
    client.activate()
    walk(client, Mode.ACTIVE, "a command")
    with Client(JOINTS, daemon.runtime_dir, name="person") as person:
        person.hello()
        person.damp("enough")
    walk(client, Mode.DAMPING, "damping")
    damped = client.command()
    assert damped.reason is Reason.OPERATOR
    assert not damped.stiffness.any()
    assert damped.damping.tolist() == pytest.approx([2.7, 2.5, 2.6])
    for _ in range(3):
        step(client)
    assert client.command().mode is Mode.DAMPING
    client.activate()
    walk(client, Mode.ACTIVE, "a command of the new session")


def test_the_workers_death_reaches_it(client: Client, daemon: Gaitd) -> None:
    pid = daemon.wait_worker()
    client.activate()
    walk(client, Mode.ACTIVE, "a command")
    subprocess.run(["kill", "-9", str(pid)], check=True)
    walk(client, Mode.DAMPING, "damping")
    assert client.command().reason is Reason.WORKER_DIED
    daemon.wait_worker(other_than=pid)


def test_a_command_of_an_old_epoch_is_refused(client: Client, daemon: Gaitd, tmp_path: Path) -> None:
    """From a worker that was replaced and wakes up: a second publisher beside gaitd's."""
    client.activate()
    walk(client, Mode.ACTIVE, "a command")
    newest = client.command()
    old = encode_command(replace(newest, epoch=newest.epoch - 1))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        publisher = context.socket(zmq.PUB)
        publisher.bind(local_endpoint(tmp_path, "woken"))
        client._connection.commands.connect(local_endpoint(tmp_path, "woken"))

        def refused() -> bool:
            publisher.send(old)
            step(client)
            return client.refused[Refusal.OLD_EPOCH] > 0

        wait_until(refused, what="the refusal")
        assert client.command().epoch == newest.epoch
    finally:
        context.destroy(linger=0)


def test_it_is_damped_while_gaitd_is_silent(client: Client, daemon: Gaitd) -> None:
    client.activate()
    walk(client, Mode.ACTIVE, "a command")
    late = client.command(time.monotonic_ns() + 2 * client.contract.times.deadline_ns)
    assert (late.mode, late.reason) == (Mode.DAMPING, Reason.CLIENT_DEADLINE)
    assert not late.stiffness.any()


def test_what_does_not_fit_is_said_in_gaitds_words(daemon: Gaitd) -> None:
    with (
        Client(("hip", "thigh", "wheel"), daemon.runtime_dir) as client,
        pytest.raises(GaitdError, match="joint 'knee' is missing"),
    ):
        client.hello()


def test_without_gaitd_it_says_where_it_looked(tmp_path: Path) -> None:
    with (
        Client(JOINTS, tmp_path, timeout_s=0.1) as client,
        pytest.raises(UnreachableError, match=str(tmp_path)),
    ):
        client.hello(timeout_s=0.1)


def test_hello_comes_first_and_arrays_have_the_joints_length(client: Client, daemon: Gaitd) -> None:
    with (
        Client(JOINTS, daemon.runtime_dir) as other,
        pytest.raises(InputError, match=r"call hello\(\) first"),
    ):
        other.activate()
    sensors = {"orientation": (1, 0, 0, 0), "angular_velocity": (0, 0, 0)}
    with pytest.raises(InputError, match="joint_velocity: expected 3 values"):
        client.publish(Sample(joint_position=np.zeros(3), joint_velocity=np.zeros(4), **sensors))


def test_no_sensor_that_the_policy_needs_is_made_up(client: Client) -> None:
    joints = {"joint_position": np.zeros(3), "joint_velocity": np.zeros(3)}
    before = client.published
    assert {"orientation", "angular_velocity"} <= set(client.contract.fields)
    with pytest.raises(InputError, match="orientation: the policy needs it of every sample"):
        client.publish(Sample(**joints, angular_velocity=(0, 0, 0)))
    with pytest.raises(InputError, match="angular_velocity: the policy needs it of every sample"):
        client.publish(Sample(**joints, orientation=(1, 0, 0, 0)))
    assert client.published == before


@pytest.mark.thorough
def test_another_gaitd_needs_another_hello(small_bundle_path: Path) -> None:
    """gaitd was restarted meanwhile with another configuration."""
    with Gaitd(small_bundle_path) as first:
        client = Client(JOINTS, first.wait_ready().runtime_dir)
        client.hello()
        first.stop()
        with Gaitd(small_bundle_path, runtime_dir=first.runtime_dir, config=PATIENT) as second, client:
            second.wait_ready()
            with pytest.raises(GaitdError, match="say hello again"):
                client.activate()
            client.hello()
            assert client.activate() > 0


def walk_example(gaitd: Gaitd, seconds: int) -> list[str]:
    script = ROOT / "examples/python_client/walk.py"
    return [sys.executable, str(script), str(gaitd.runtime_dir), str(seconds)]


@pytest.mark.slow
def test_the_example_walks() -> None:
    with Gaitd(EXAMPLE_BUNDLE, "--backend", "onnx", config=PATIENT) as gaitd:
        gaitd.wait_ready()
        done = subprocess.run(walk_example(gaitd, 2), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        mode, ahead = done.stdout.split(", ")
        assert mode == "active"
        assert float(ahead.split()[0]) > 0.5
        assert gaitd.status()["mode"] == "idle", "it released its session"


@pytest.mark.slow
def test_after_damping_the_example_goes_on_with_its_states() -> None:
    """So that a recording shows how the robot sat down."""
    with Gaitd(EXAMPLE_BUNDLE, "--backend", "onnx", config=PATIENT) as gaitd:
        gaitd.wait_ready()
        walking = subprocess.Popen(walk_example(gaitd, 60), stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: gaitd.status()["mode"] == "active", 30.0, "the session")
            subprocess.run(
                [sys.executable, "-m", "gaitd.ctl.cli", "--runtime-dir", str(gaitd.runtime_dir), "damp"],
                check=True,
                capture_output=True,
            )
            before = gaitd.status()["counters"]["received"]
            wait_until(
                lambda: gaitd.status()["counters"]["received"] > before + 80, 20.0, "a second of states"
            )
            assert gaitd.status()["mode"] == "damping"
            assert walking.wait(20) == 1
            assert walking.stderr is not None
            assert walking.stderr.read().startswith("damping: ")
        finally:
            walking.kill()
            walking.communicate()
