"""May the robot be walking? Whoever would stop gaitd asks, and no answer is no permission."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gaitd.bundle.read import open_bundle
from gaitd.bundle.store import PolicyStore
from gaitd.ctl import client
from gaitd.ctl.cli import main
from gaitd.system.runtime_dir import claim_runtime_dir
from gaitd.wire.control import Reply, decode_request, encode_reply
from support.bundles import small_manifest, write_small_bundle

ROOT = Path(__file__).parents[2]


class Robot:
    """A store with two policies, of which the first is active, and a systemctl that writes down its "
    "orders."""

    def __init__(self, root: Path) -> None:
        self.runtime_dir = root / "run"
        self.store = PolicyStore(root / "store")
        paths = [write_small_bundle(root / f"{n}.gaitd", small_manifest(version=str(n))) for n in (1, 2)]
        self.first, self.second = (open_bundle(path).id for path in paths)
        self._orders = root / "orders"
        self.script = root / "bin" / "systemctl"
        self.script.parent.mkdir()
        self.service("active")
        for path in paths:
            assert main(["install", "--store", str(self.store.root), str(path)]) == 0
        assert main(["activate", "--store", str(self.store.root), self.first, "--no-restart"]) == 0

    def service(self, state: str, restart: str = "exit 0") -> None:
        text = f'echo "$1" >> {self._orders}\ncase $1 in show) echo {state} ;; restart) {restart} ;; esac\n'
        self.script.write_text(f"#!/bin/sh\n{text}")
        self.script.chmod(0o755)

    def orders(self) -> list[str]:
        return self._orders.read_text().split() if self._orders.exists() else []

    def __call__(self, *arguments: str) -> int:
        return main(["--runtime-dir", str(self.runtime_dir), *arguments])

    def activate(self, *options: str) -> int:
        return self("activate", "--store", str(self.store.root), self.second, *options)

    @property
    def active(self) -> str:
        return self.store.open_active().manifest.version


@pytest.fixture
def robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Robot:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(client, "STATUS_TIMEOUT_S", 0.3)
    return Robot(tmp_path)


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """As a gaitd that lives holds it."""
    fd = claim_runtime_dir(directory)
    try:
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def answering(directory: Path, status: dict[str, Any]) -> Iterator[list[str]]:
    """What answers each request with this status; yields the requests it got."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{directory}/control.sock")
    asked, stop = [], threading.Event()

    def answer() -> None:
        while not stop.is_set():
            if router.poll(20):
                peer, data = router.recv_multipart()
                request = decode_request(data)
                asked.append(f"{request.name} {request.body.get('session', '')}".strip())
                router.send_multipart([peer, encode_reply(Reply(request.request_id, True, status))])

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield asked
    finally:
        stop.set()
        thread.join()
        context.destroy(linger=0)


COMMANDS = ["activate", "rollback", "install", "selftest", "bench", "safe-to-stop"]


def run(robot: Robot, command: str, *options: str) -> int:
    """A command that would disturb a walking robot."""
    store = ["--store", str(robot.store.root)]
    if command == "activate":
        return robot.activate(*options)
    if command == "rollback":
        main(["activate", *store, robot.second, "--no-restart"])
        return robot("rollback", *store, *options)
    if command == "install":
        return robot("install", *store, str(robot.store.root.parent / "2.gaitd"), "--activate", *options)
    return robot(command, *options)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_walking_robot_is_not_disturbed(
    robot: Robot, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(robot.runtime_dir), answering(robot.runtime_dir, {"mode": "active", "session": 7}):
        assert run(robot, command) == 2
    assert "session 7 is active" in capsys.readouterr().err
    assert "restart" not in robot.orders()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_gaitd_that_does_not_answer_may_be_walking(
    robot: Robot, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(robot.runtime_dir):
        assert run(robot, command) == 2
    error = capsys.readouterr().err
    assert "a gaitd runs here but does not answer, so the robot may be walking" in error
    assert ("stop it by hand" if command == "safe-to-stop" else "--force") in error
    assert "restart" not in robot.orders()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_service_whose_directory_is_another_may_be_walking(
    robot: Robot, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(robot, command) == 2
    error = capsys.readouterr().err
    assert f"gaitd.service runs, but no gaitd has {robot.runtime_dir}" in error
    assert "--runtime-dir" in error
    assert "restart" not in robot.orders()


@pytest.mark.parametrize("status", [{}, {"mode": "dancing"}, {"mode": None}])
def test_an_answer_that_says_nothing_is_no_permission(robot: Robot, status: dict[str, Any]) -> None:
    with held(robot.runtime_dir), answering(robot.runtime_dir, status):
        assert robot.activate() == 2
        assert robot("safe-to-stop") == 2
    assert robot.active == "1"


@pytest.mark.parametrize("mode", ["idle", "damping"])
def test_a_robot_that_does_not_walk_may_be_restarted(robot: Robot, mode: str) -> None:
    with held(robot.runtime_dir), answering(robot.runtime_dir, {"mode": mode}):
        assert robot("safe-to-stop") == 0
        assert robot.activate() == 0
    assert (robot.active, robot.orders()[-1]) == ("2", "restart")


@pytest.mark.parametrize("state", ["failed", "activating", "inactive"])
def test_without_a_gaitd_nobody_walks(robot: Robot, state: str) -> None:
    robot.service(state)
    assert robot("safe-to-stop") == 0
    assert robot.activate() == 0
    assert robot.active == "2"
    assert ("restart" in robot.orders()) is (state != "inactive")


def test_force_says_so(robot: Robot) -> None:
    with held(robot.runtime_dir):
        assert robot.activate("--force") == 0
    assert (robot.active, robot.orders()[-1]) == ("2", "restart")


def test_a_lock_that_may_not_be_looked_at_counts_as_held(robot: Robot) -> None:
    robot.runtime_dir.mkdir()
    (robot.runtime_dir / "lock").symlink_to("/nowhere")
    assert robot("safe-to-stop") == 2


@pytest.mark.parametrize("how", ["exit 1", "kill -9 $$"])
def test_a_policy_that_does_not_start_gives_way_to_the_old_one(robot: Robot, how: str) -> None:
    robot.service("failed", restart=how)
    assert robot.activate() == 3
    assert robot.active == "1"
    assert robot.orders().count("restart") == 2


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_terminal_that_goes_away_does_not_leave_a_failing_policy(robot: Robot, number: int) -> None:
    """The signal comes to the whole group while systemctl restarts gaitd with the new policy."""
    robot.service("failed", restart=f"touch {robot.script}.begun; sleep 0.5; exit 1")
    options = ["--runtime-dir", str(robot.runtime_dir), "activate", "--store", str(robot.store.root)]
    program = subprocess.Popen(
        [sys.executable, "-m", "gaitd.ctl.cli", *options, robot.second],
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    begun = Path(f"{robot.script}.begun")
    while not begun.exists():
        assert program.poll() is None
        time.sleep(0.01)
    os.killpg(program.pid, number)
    assert program.wait(20) == 3
    assert robot.active == "1"
    assert robot.orders().count("restart") == 2


def prerm(robot: Robot, gaitctl: str) -> subprocess.CompletedProcess[str]:
    """The package's script; nothing of it reaches this machine's services."""
    script = robot.script.with_name("gaitctl")
    script.write_text(f"#!/bin/sh\n{gaitctl}\n")
    script.chmod(0o755)
    shell = shutil.which("sh")
    assert shell is not None
    command = [shell, str(ROOT / "packaging/deb/gaitd/prerm"), "remove"]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": str(script.parent)})


@pytest.mark.parametrize(
    ("gaitctl", "state", "refused"),
    [
        ("exit 0", "active", False),
        ("exit 2", "inactive", True),
        ("exit 3", "inactive", True),
        ("exit 127", "active", True),
        ("exit 127", "inactive", False),
    ],
)
def test_the_package_does_not_go_under_a_walking_robot(
    robot: Robot, gaitctl: str, state: str, refused: bool
) -> None:
    robot.service(state)
    script = robot.script.read_text()
    robot.script.write_text(script + f'[ "$1" != is-active ] || [ {state} = active ]\n')
    done = prerm(robot, f'[ "$1" = safe-to-stop ] || exit 9\n{gaitctl}')
    assert (done.returncode != 0) is refused, done.stderr
    assert ("active session" in done.stderr) is refused


def test_release_names_the_session(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    robot.runtime_dir.mkdir()
    with answering(robot.runtime_dir, {"mode": "damping", "session": 41}) as asked:
        assert robot("release") == 0
    assert asked == ["status", "release 41"]
    assert capsys.readouterr().out == "idle\n"


def test_release_of_what_is_idle_or_walks(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    robot.runtime_dir.mkdir()
    with answering(robot.runtime_dir, {"mode": "idle", "session": 0}) as asked:
        assert robot("release") == 0
    assert (asked, capsys.readouterr().out) == (["status"], "idle\n")
    with answering(robot.runtime_dir, {"mode": "active", "session": 41}) as asked:
        assert robot("release") == 2
    assert asked == ["status"]
    assert "gaitctl damp" in capsys.readouterr().err


def test_what_a_peer_writes_does_nothing_to_the_terminal(
    robot: Robot, capsys: pytest.CaptureFixture[str]
) -> None:
    robot.runtime_dir.mkdir()
    evil = "\x1b[2Jx\ny"
    status = {
        "mode": "damping", "mode_for_s": 2.0, "reason": "operator", "detail": evil, "damped_by": evil,
        "session": 3, "owner": evil, "gaitd": evil, "guardian_pid": 1, "period_s": 0.012,
        "refused": {evil: 1}, "refused_requests": 2,
        "policy": {"id": evil, "name": evil, "version": evil}, "controllers": [evil], "counters": {evil: 1},
        "worker": {"ready": True, "pid": 1, "starts": 1, "backend": evil, "versions": {evil: evil}},
        "missing_realtime": {evil: {evil: evil}},
    }  # fmt: skip
    with answering(robot.runtime_dir, status):
        assert robot("status") == 0
    text = capsys.readouterr().out
    assert all(line.isprintable() for line in text.splitlines())
    assert "damping for 2.0 s, because of operator" in text
    assert text.count("\n") == 11


def test_a_reader_that_has_seen_enough_ends_it_quietly(robot: Robot) -> None:
    command = [sys.executable, "-m", "gaitd.ctl.cli", "list", "--store", str(robot.store.root)]
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end) as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=60)
    assert done.stderr == b""
    assert done.returncode == 128 + signal.SIGPIPE
