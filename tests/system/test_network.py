"""TCP is for those on the list of keys; with a real gaitd, real clients, and unauthorized peers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from gaitd.ctl.client import ControlClient
from gaitd.ctl.route import Route
from gaitd.errors import UnreachableError
from gaitd.system.access import AccessControl
from gaitd.system.config import Config
from gaitd.system.config_files import load_config
from gaitd.wire.codec import encode_state
from gaitd.wire.control import Request, encode_request
from gaitd.wire.generated import CHANNELS, Mode
from gaitforge.stack.processes import Chain, Walk
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until
from support.network import LOOPBACK, Handshakes, Network, free_ports

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/lite3_walk/lite3_walk.gaitd"
CPP_CONTROLLER = ROOT / "build/cpp/lite3_controller"
JOINTS = ["hip", "thigh", "knee"]
HANDSHAKE_S = 2.0


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A robot, alice who is on its list, and mallory who is not."""
    network = Network(tmp_path_factory.mktemp("keys"))
    network.make("alice")
    network.make("mallory")
    network.allow("alice")
    return network


@pytest.fixture(scope="module")
def daemon(network: Network, small_bundle_path: Path) -> Iterator[Gaitd]:
    with Gaitd(small_bundle_path, config=PATIENT + network.config) as gaitd:
        yield gaitd.wait_ready()


@pytest.fixture
def walker(daemon: Gaitd) -> Iterator[Controller]:
    """A controller on the Unix sockets, walking."""
    controller = daemon.controller(name="walker")
    controller.activate()
    assert any(controller.walk(3))
    yield controller
    controller.control.ask("release", session=controller.session)


def assert_walks(controller: Controller) -> None:
    answers = [answer for answer in controller.walk(20) if answer is not None]
    assert len(answers) >= 10
    assert {answer.mode for answer in answers} == {Mode.ACTIVE}


GAITCTL = [sys.executable, "-m", "gaitd.ctl.cli"]


def gaitctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GAITCTL, *arguments], capture_output=True, text=True, timeout=30)


@contextlib.contextmanager
def controller_on(route: Route) -> Iterator[Controller]:
    controller = Controller(route, JOINTS, name="remote")
    try:
        yield controller
    finally:
        controller.close()


def test_an_allowed_key_walks(daemon: Gaitd, network: Network) -> None:
    with controller_on(network.route("alice")) as controller:
        controller.hello()
        controller.settle()
        controller.activate()
        assert_walks(controller)
        assert daemon.status()["mode"] == "active"
        controller.control.demand("release", session=controller.session)


def test_the_unix_sockets_need_no_key(daemon: Gaitd, walker: Controller) -> None:
    assert_walks(walker)


def test_gaitctl_from_elsewhere(daemon: Gaitd, network: Network, walker: Controller) -> None:
    def while_it_walks(*arguments: str) -> str:
        command = [*GAITCTL, *arguments, *network.options("alice")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            wait_until(lambda: walker.walk(1) and process.poll() is not None, 20.0, "gaitctl's end")
            assert process.returncode == 0
            return process.communicate()[0]

    status = json.loads(while_it_walks("status", "--json"))
    assert (status["mode"], status["session"]) == ("active", walker.session)
    while_it_walks("damp", "--detail", "from afar")
    assert daemon.status()["mode"] == "damping"
    assert "from afar" in daemon.status()["detail"]


def test_gaitctl_with_a_foreign_key(daemon: Gaitd, network: Network) -> None:
    done = gaitctl("damp", *network.options("mallory"))
    assert done.returncode == UnreachableError.exit_code
    public = network.route("mallory").keys
    assert public is not None
    assert f"is {zmq.curve_public(public.secret).decode()} in its network.allowed_keys?" in done.stderr
    assert "Traceback" not in done.stderr
    wait_until(lambda: zmq.curve_public(public.secret).decode() in daemon.log, what="a line in the log")


class Peer:
    """Opens every channel, sends what would be good from an authorized peer, and keeps what comes back."""

    def __init__(self, route: Route) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        kinds = dict(zip(CHANNELS, (zmq.PUB, zmq.SUB, zmq.SUB, zmq.DEALER), strict=True))
        self.sockets = {channel: self._context.socket(kind) for channel, kind in kinds.items()}
        self.handshakes = {channel: Handshakes(each) for channel, each in self.sockets.items()}
        self.sockets["command"].set(zmq.SUBSCRIBE, b"")
        self.sockets["guard"].set(zmq.SUBSCRIBE, b"")
        for channel, each in self.sockets.items():
            route.connect(each, channel)
        self.sockets["control"].send(encode_request(Request(1, "damp", {"session": 0, "reason": 10})))

    def try_again(self, state: bytes) -> None:
        self.sockets["state"].send(state)
        for handshakes in self.handshakes.values():
            handshakes.look()

    def succeeded(self) -> int:
        return sum(handshakes.succeeded for handshakes in self.handshakes.values())

    def heard(self) -> list[str]:
        return [channel for channel, each in self.sockets.items() if channel != "state" and each.poll(0)]

    def close(self) -> None:
        for each in self.sockets.values():
            each.disable_monitor()
        self._context.destroy(linger=0)


UNAUTHORIZED: dict[str, Callable[[Network], Route]] = {
    "unknown key": lambda network: network.route("mallory"),
    "without CURVE": lambda network: network.keyless_route(),
    "wrong server key": lambda network: network.route("alice", server="mallory"),
}


@pytest.mark.parametrize("kind", UNAUTHORIZED)
def test_an_unauthorized_peer_gets_nothing(
    daemon: Gaitd, network: Network, walker: Controller, kind: str
) -> None:
    before = daemon.metrics()
    peer = Peer(UNAUTHORIZED[kind](network))
    junk = encode_state(walker.next_state(session=walker.session + 1))

    def refused_everywhere() -> bool:
        walker.step()
        peer.try_again(junk)
        return all(handshakes.failed >= 2 for handshakes in peer.handshakes.values())

    try:
        wait_until(refused_everywhere, 20.0, "a refusal on every channel")
        assert peer.succeeded() == 0
        assert peer.heard() == []
    finally:
        peer.close()
    assert_walks(walker)  # nobody damped it
    after = daemon.metrics()
    # What another session's states would be counted as.
    for name in ('gaitd_states_refused_total{why="foreign_session"}', "gaitd_states_standby_total"):
        assert after[name] == before[name], name


def test_an_authorized_peer_that_does_the_same_is_heard(daemon: Gaitd, network: Network) -> None:
    """The control of the test above: with a key on the list everything of it has an effect."""
    controller = daemon.controller(name="bystander")
    controller.activate()
    assert any(controller.walk(3))
    name = 'gaitd_states_refused_total{why="foreign_session"}'
    before = daemon.metrics()[name]
    peer = Peer(network.route("alice"))
    junk = encode_state(controller.next_state(session=controller.session + 1))
    try:
        assert controller.wait_for(Mode.DAMPING).session == controller.session

        def heard_everywhere() -> bool:
            peer.try_again(junk)
            return {"guard", "control"} <= set(peer.heard()) and peer.succeeded() == len(CHANNELS)

        wait_until(heard_everywhere, what="answers")

        def counted() -> bool:
            peer.try_again(junk)
            return daemon.metrics()['gaitd_states_refused_total{why="foreign_session"}'] > before

        wait_until(counted, what="its states")
    finally:
        peer.close()
    controller.control.demand("release", session=controller.session)


def old_zmtp(data: bytes) -> bytes:
    """A message from a ZeroMQ 2 publisher: the first protocol, which knows no security."""
    return b"\x01\x00" + bytes([len(data) + 1, 0]) + data


def test_an_old_protocol_is_no_way_around(daemon: Gaitd, network: Network) -> None:
    controller = daemon.controller(name="bystander")
    state = encode_state(controller.next_state())
    assert len(state) < 254
    count = "gaitd_states_standby_total"
    before = daemon.metrics()[count]
    tcp = socket.create_connection((LOOPBACK, network.port), timeout=2 * HANDSHAKE_S)
    tcp.sendall(old_zmtp(state))
    with contextlib.suppress(ConnectionResetError):
        while tcp.recv(64):  # until gaitd hangs up
            pass
    tcp.close()
    assert daemon.metrics()[count] == before
    # The control: without the demand for keys, on the Unix socket, those bytes are a state.
    with socket.socket(socket.AF_UNIX) as local:
        local.connect(str(daemon.runtime_dir / "state.sock"))
        local.sendall(old_zmtp(state))
        wait_until(lambda: daemon.metrics()[count] == before + 1, what="the state")


def test_connections_without_a_handshake_are_closed(network: Network, walker: Controller) -> None:
    crowd = [
        socket.create_connection((LOOPBACK, network.port + index % len(CHANNELS)), timeout=5)
        for index in range(60)
    ]
    for each in crowd:
        each.setblocking(False)

    def closed() -> bool:
        answers = walker.walk(1)
        assert answers[0] is None or answers[0].mode is Mode.ACTIVE
        return all(ended(each) for each in crowd)

    wait_until(closed, 4 * HANDSHAKE_S, "the end of every silent connection")
    assert_walks(walker)


def ended(connection: socket.socket) -> bool:
    try:
        while connection.recv(256):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def test_a_key_taken_off_the_list_is_refused_from_the_next_start_on(
    tmp_path: Path, small_bundle_path: Path
) -> None:
    network = Network(tmp_path)
    for name in ("alice", "bob"):
        network.make(name)

    def answered(name: str) -> bool:
        with ControlClient(network.route(name), timeout_s=3.0) as client:
            try:
                return bool(client.demand("status"))
            except UnreachableError:
                return False

    network.allow("alice", "bob")
    with Gaitd(small_bundle_path, config=PATIENT + network.config) as daemon:
        daemon.wait_ready()
        assert (answered("alice"), answered("bob")) == (True, True)
    network.allow("bob")
    with Gaitd(small_bundle_path, config=PATIENT + network.config) as daemon:
        daemon.wait_ready()
        assert (answered("bob"), answered("alice")) == (True, False)


@pytest.mark.parametrize("handler", ["silent", "gone", "answers"])
def test_without_an_answer_from_the_loop_nobody_gets_in(
    network: Network, tmp_path: Path, handler: str
) -> None:
    """What a process does whose loop hangs while libzmq's thread lives on; and the control."""
    text = network.config.replace(f"port = {network.port}", f"port = {Network(tmp_path).port}")
    (tmp_path / "gaitd.toml").write_text(f'[daemon]\nruntime_dir = "{tmp_path}"\n{text}')
    config = load_config(tmp_path / "gaitd.toml")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    access = AccessControl(context, config)
    publisher = access.open(zmq.PUB, "command", 10, 1000)
    if handler == "gone":
        assert access._zap is not None
        access._zap.close()
    alice = Route.remote(
        f"{LOOPBACK}:{config.network.port}", network.server_key, network.server_key.with_name("alice.key")
    )
    subscriber = context.socket(zmq.SUB)
    subscriber.set(zmq.SUBSCRIBE, b"")
    handshakes = Handshakes(subscriber)
    alice.connect(subscriber, "command")

    def decided() -> bool:
        if handler == "answers":
            access.admit()
        publisher.send(b"command")
        handshakes.look()
        return bool(subscriber.poll(1)) if handler == "answers" else handshakes.failed >= 1

    wait_until(decided, 4 * HANDSHAKE_S, "the end of a handshake")
    assert bool(subscriber.poll(0)) is (handshakes.succeeded > 0) is (handler == "answers")
    subscriber.disable_monitor()
    context.destroy(linger=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda network: network.allowed_keys.write_text("# nobody\n"), "holds no public key"),
        (lambda network: network.allowed_keys.unlink(), "network.allowed_keys: .*cannot be read"),
        (lambda network: network.allowed_keys.chmod(0o666), "has mode 0666: others may add keys to it"),
        (
            lambda network: network.server_key.with_suffix(".key").chmod(0o640),
            "network.server_key: .*chmod 600",
        ),
        (lambda network: network.server_key.with_suffix(".key").write_text("x"), "holds no secret key"),
    ],
)
def test_keys_that_cannot_be_used_end_gaitd_at_once(
    tmp_path: Path, small_bundle_path: Path, spoil: Callable[[Network], None], message: str
) -> None:
    network = Network(tmp_path)
    network.make("alice")
    network.allow("alice")
    spoil(network)
    with Gaitd(small_bundle_path, config=network.config) as daemon:
        assert daemon.process.wait(20) == 2
        assert_one_error(daemon.log, message)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_port_that_is_taken_ends_gaitd_at_once(
    tmp_path: Path, small_bundle_path: Path, channel: str
) -> None:
    network = Network(tmp_path)
    network.make("alice")
    network.allow("alice")
    port = network.port + CHANNELS.index(channel)
    with socket.socket() as taken:
        taken.bind((LOOPBACK, port))
        taken.listen()
        with Gaitd(small_bundle_path, config=network.config, managed=False) as daemon:
            assert daemon.process.wait(30) == 7, "another time the port may be free"
            assert_one_error(daemon.log, f"tcp://{LOOPBACK}:{port}: cannot be bound: Address already in use")


def assert_one_error(log: str, message: str) -> None:
    errors = [line for line in log.splitlines() if line.startswith("gaitd: error: ")]
    assert len(errors) == 1, log
    assert re.search(message, errors[0]), errors
    assert "Traceback" not in log


def run_controller(*options: str) -> subprocess.CompletedProcess[str]:
    port = free_ports()
    ports = ["--state-port", str(port), "--operator-port", str(port + 1), "--hello-timeout", "2"]
    return subprocess.run([CPP_CONTROLLER, *ports, *options], capture_output=True, text=True, timeout=30)


@pytest.mark.slow
def test_the_cpp_client_walks_with_its_key_and_others_reach_nothing(network: Network, tmp_path: Path) -> None:
    if not os.access(CPP_CONTROLLER, os.X_OK):
        pytest.fail(f"{CPP_CONTROLLER} is not built; `make cpp` builds it", pytrace=False)
    other = Network(tmp_path)  # its ports, and a server key that is not this robot's
    config = tmp_path / "gaitd.toml"
    config.write_text(network.config.replace(f"port = {network.port}", f"port = {other.port}"))
    mallory = network.options("mallory")
    alice = network.options("alice")
    for options in (mallory, alice):
        options[1] = other.robot
    impostor = [*alice]
    impostor[3] = str(other.server_key)
    with Chain(
        EXAMPLE,
        CPP_CONTROLLER,
        tmp_path / "run",
        Walk(seconds=8.0, command="0.7,0,0"),
        gaitd_options=["--config", str(config)],
        controller_options=alice,
    ) as chain:
        chain.wait_active()
        for options in (mallory, impostor):
            done = run_controller(*options)
            assert done.returncode == 1
            assert (
                f"gaitd did not answer hello on tcp://{LOOPBACK}:{other.port + 3} within 2000 ms"
                in done.stderr
            )
            assert "in its network.allowed_keys?" in done.stderr
            assert "runs policy" not in done.stdout
        status = chain.status()
        assert status["mode"] == "active"
        result = chain.finish()
    assert result.simulator["falls"] == 0
    assert result.simulator["displacement_m"] >= 2.0


def test_the_defaults_have_no_tcp() -> None:
    assert Config().network.address == ""
