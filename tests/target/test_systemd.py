"""The real units under the real systemd, with the package installed, in a container."""

from __future__ import annotations

import io
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from machine import PACKAGES, Layer, Machine, build_package, debian_root, until
from rootfs import TargetUnavailableError

from gaitd.bundle import open_bundle, write_bundle
from gaitd.wire.messages import Mode, Reason
from support.bundles import small_manifest, write_small_bundle
from support.controller import Controller

pytestmark = pytest.mark.target

READY_S = 3.0
WATCHDOG_S = 2.0
NEW_SESSION_S = 2.0
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine with the package, a policy active and a second, bad one installed."""
    scratch = tmp_path_factory.mktemp("machine")
    try:
        base = debian_root("bookworm", PACKAGES)
        package = build_package(scratch)
    except TargetUnavailableError as error:
        pytest.skip(str(error))
    layer = Layer(base, scratch)
    try:
        delivery = layer.root / "delivery"
        delivery.mkdir()
        shutil.move(package, delivery / "gaitd.deb")
        write_small_bundle(delivery / "good.gaitd")
        write_small_bundle(delivery / "better.gaitd", small_manifest(version="1.1.0"))
        _write_lying_bundle(delivery / "lying.gaitd")
        shutil.copy(HERE / "sandbox_probe.py", delivery)
        layer.run("dpkg", "--install", "/delivery/gaitd.deb")
        layer.run("gaitctl", "install", "/delivery/good.gaitd", "--activate")
        # Numbers that belong to no driver: the device policy alone decides how an open fails.
        layer.run("mknod", "--mode=0666", "/delivery/rknpu", "c", "10", "230")
        layer.run("mknod", "--mode=0666", "/delivery/foreign", "c", "10", "231")
        layer.before_boot()
        with Machine(layer.root, scratch / "console") as machine:
            machine.run("cp", "--archive", "/delivery/rknpu", "/delivery/foreign", "/dev/")
            yield machine
    finally:
        layer.close()


def _write_lying_bundle(target: Path) -> None:
    """A well-formed policy whose model does not answer as its golden vectors say."""
    honest = open_bundle(write_small_bundle(target.with_name("honest.gaitd")))
    observation, action = honest.golden()
    golden = io.BytesIO()
    np.savez(golden, observation=observation, action=action + 1)
    files = {"model.onnx": honest.read_bytes("model.onnx"), "golden.npz": golden.getvalue()}
    write_bundle(target, small_manifest(version="6.6.6"), files)


@pytest.fixture
def running(machine: Machine) -> Iterator[Machine]:
    """gaitd ready."""
    machine.attempt("systemctl", "reset-failed", "gaitd")
    machine.start("gaitd")
    yield machine
    machine.attempt("systemctl", "stop", "gaitd")


@pytest.fixture
def controller(running: Machine) -> Iterator[Controller]:
    """A controller that said hello."""
    controller = _controller(running)
    controller.hello()
    yield controller
    controller.close()


def _controller(machine: Machine) -> Controller:
    return Controller(machine.seen_from_here("/run/gaitd"), ["hip", "thigh", "knee"])


def test_ready_within_three_seconds(machine: Machine, record_property: pytest.RecordProperty) -> None:
    durations_s = []
    for _ in range(3):
        durations_s.append(machine.start("gaitd"))
        machine.run("systemctl", "stop", "gaitd")
    record_property("start_to_ready_s", durations_s)
    assert min(durations_s) < READY_S


@pytest.mark.parametrize("unit", ["gaitd.service", "gaitd-metrics.service"])
def test_exposure(machine: Machine, unit: str) -> None:
    report = machine.run("systemd-analyze", "security", "--no-pager", unit)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert exposure is not None, report
    assert float(exposure[1]) <= 0.8


def test_units_have_no_mistakes(machine: Machine) -> None:
    units = ["gaitd.service", "gaitd-metrics.service", "gaitd-metrics.socket"]
    done = machine.attempt("systemd-analyze", "verify", "--man=no", *units)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_policy_walks(controller: Controller) -> None:
    controller.activate()
    answers = controller.walk(20)
    assert sum(answer is not None and answer.mode is Mode.ACTIVE for answer in answers) >= 10


def test_watchdog_kills_a_stopped_daemon_and_a_new_session_follows(
    running: Machine, controller: Controller, record_property: pytest.RecordProperty
) -> None:
    controller.activate()
    controller.walk(5)
    stopped_pid = int(running.show("gaitd", "MainPID"))
    running.run("kill", "-STOP", str(stopped_pid))
    until(lambda: running.show("gaitd", "MainPID") != str(stopped_pid), WATCHDOG_S + 2)
    killed_s = time.monotonic()
    fresh = _controller(running)
    try:
        old_session = controller.session
        fresh.hello()
        _activate_when_ready(fresh, NEW_SESSION_S)
        again_s = time.monotonic() - killed_s
        record_property("kill_to_new_session_s", again_s)
        assert again_s < NEW_SESSION_S
        assert fresh.session != old_session
        heard = [controller.receive(0.02) for _ in range(10)]
        assert not [command for command in heard if command is not None and command.session == old_session]
        assert any(answer is not None and answer.mode is Mode.ACTIVE for answer in fresh.walk(20))
    finally:
        fresh.close()
    assert int(running.show("gaitd", "NRestarts")) == 1
    assert "Watchdog timeout" in running.journal("gaitd")


def test_a_crash_loop_ends_and_can_be_left(running: Machine) -> None:
    seen = set()

    def failed() -> bool:
        pid = int(running.show("gaitd", "MainPID"))
        if pid:
            seen.add(pid)
            running.attempt("kill", "-KILL", str(pid))
        return running.show("gaitd", "ActiveState") == "failed"

    until(failed, 30)
    burst = int(running.show("gaitd", "StartLimitBurst"))
    assert 3 <= len(seen) <= burst
    assert running.attempt("systemctl", "start", "gaitd").returncode != 0
    running.run("systemctl", "reset-failed", "gaitd")
    running.start("gaitd")
    assert running.show("gaitd", "ActiveState") == "active"


@pytest.mark.parametrize("mode", [Mode.IDLE, Mode.ACTIVE, Mode.DAMPING])
def test_stop(running: Machine, controller: Controller, mode: Mode) -> None:
    if mode is not Mode.IDLE:
        controller.activate()
        controller.walk(5)
    if mode is Mode.DAMPING:
        controller.control.demand("damp", session=0, reason=int(Reason.OPERATOR), detail="test")
        controller.wait_for(Mode.DAMPING)
    running.run("systemctl", "stop", "--no-block", "gaitd")
    if mode is Mode.ACTIVE:
        assert controller.wait_for(Mode.DAMPING).reason is Reason.SHUTDOWN
    until(lambda: running.show("gaitd", "ActiveState") == "inactive", 5)
    assert running.show("gaitd", "Result") == "success"
    assert running.attempt("test", "-e", "/run/gaitd").returncode == 1
    assert "gaitd" not in running.run("ps", "-e", "-o", "comm")


def test_only_the_group_reaches_the_sockets(running: Machine) -> None:
    def status(group: str) -> int:
        identity = ["setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups"]
        return running.attempt(*identity, "gaitctl", "status").returncode

    assert status("gaitd") == 0
    assert status("nogroup") != 0
    assert running.run("stat", "--format=%A %U %G", "/run/gaitd").split() == ["drwxr-x---", "gaitd", "gaitd"]
    names = running.run("ls", "/run/gaitd").split()
    for name in (name for name in names if name.endswith(".sock")):
        mode = running.run("stat", "--format=%A", f"/run/gaitd/{name}").strip()
        assert mode == "srwxrwx---", name


MUST_WORK = {"Unix socket", "write a recording", "write a log", "NPU node"}
MUST_FAIL = {
    "IPv4 socket",
    "capabilities",
    "change the host name",
    "foreign device",
    "mount",
    "netlink socket",
    "new user namespace",
    "read /root",
    "see foreign processes",
    "set a kernel tunable",
    "writable code",
    "write /etc/gaitd",
    "write /opt/gaitd",
    "write /usr",
    "write a policy",
}
"""Each of these works for root without the sandbox: the control that the probe itself can succeed."""


def test_sandbox(machine: Machine) -> None:
    unit = machine.run("cat", "/usr/lib/systemd/system/gaitd.service")
    sandboxed = _probe(machine, "probe", _with_another_program(unit))
    control = _probe(machine, "control", _with_another_program("[Service]\nType=notify\nExecStart=/x\n"))
    assert {name for name in MUST_FAIL | MUST_WORK if not control[name]} == set()
    assert {name for name in MUST_WORK if not sandboxed[name]} == set()
    assert {name for name in MUST_FAIL if sandboxed[name]} == set()
    assert sandboxed["network interfaces"] <= 1


def _with_another_program(unit: str) -> str:
    """The unit with all its protections, running the probe once."""
    changes = {"ExecStart": "/opt/gaitd/bin/python3.11 /delivery/sandbox_probe.py", "Type": "oneshot"}
    kept = [
        line
        for line in unit.splitlines()
        if not line.startswith(("Restart=", "WatchdogS", "Wants=", "StartLimit", "RuntimeDirectory"))
    ]
    for key, value in changes.items():
        kept = [f"{key}={value}" if line.startswith(f"{key}=") else line for line in kept]
    return "\n".join(kept) + "\n"


def _probe(machine: Machine, name: str, unit: str) -> dict[str, bool]:
    path = machine.seen_from_here(f"/run/systemd/system/{name}.service")
    path.write_text(unit)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", name)
    lines = machine.journal(name).splitlines()
    results: dict[str, bool] = json.loads(next(line for line in lines if line.startswith("{")))
    return results


def test_metrics_reach_tcp_while_the_service_has_no_network(running: Machine) -> None:
    def scrape() -> str:
        program = (
            "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9468/metrics').read().decode())"
        )
        return running.attempt("/opt/gaitd/bin/python3.11", "-c", program).stdout

    until(lambda: "gaitd_worker_ready 1.0" in scrape(), 5)
    assert 'gaitd_mode{mode="idle"} 1.0' in scrape()
    pid = running.show("gaitd", "MainPID")
    namespaces = {running.run("readlink", f"/proc/{which}/ns/net") for which in (pid, "1")}
    assert len(namespaces) == 2
    running.run("systemctl", "stop", "gaitd-metrics.socket", "gaitd-metrics.service")
    assert scrape() == ""
    assert running.show("gaitd", "ActiveState") == "active"


def test_a_scrape_starts_nothing(machine: Machine) -> None:
    machine.run("systemctl", "start", "gaitd-metrics.socket")
    connect = "import socket; socket.create_connection(('127.0.0.1', 9468), 1)"
    machine.run("/opt/gaitd/bin/python3.11", "-c", connect)
    assert machine.show("gaitd", "ActiveState") == "inactive"


def test_a_policy_that_fails_its_self_test_never_stays(running: Machine) -> None:
    before = running.run("gaitctl", "list")
    done = running.attempt("gaitctl", "install", "/delivery/lying.gaitd", "--activate")
    assert done.returncode == 3
    assert "golden vector" in done.stderr
    assert "gaitd is again on" in done.stderr
    assert [line for line in running.run("gaitctl", "list").splitlines() if "active" in line] == [
        line for line in before.splitlines() if "active" in line
    ]
    until(lambda: '"ready": true' in running.run("gaitctl", "status", "--json"), READY_S)


def test_activate_and_roll_back(running: Machine) -> None:
    running.run("gaitctl", "install", "/delivery/better.gaitd", "--activate")
    assert "small 1.1.0" in running.run("gaitctl", "status")
    running.run("gaitctl", "rollback")
    assert "small 1.0.0" in running.run("gaitctl", "status")


def test_no_policy_change_while_walking(running: Machine, controller: Controller) -> None:
    session = controller.activate()
    with _Walk(controller):
        done = running.attempt("gaitctl", "install", "/delivery/better.gaitd", "--activate")
    assert done.returncode == 2
    assert f"session {session} is active" in done.stderr
    assert running.show("gaitd", "ActiveState") == "active"


def test_upgrade_is_refused_while_walking_and_keeps_everything(
    running: Machine, controller: Controller
) -> None:
    controller.activate()
    pid = running.show("gaitd", "MainPID")
    with _Walk(controller):
        refused = running.attempt("dpkg", "--install", "/delivery/gaitd.deb")
    assert refused.returncode != 0
    assert "active session" in refused.stderr
    assert running.show("gaitd", "MainPID") == pid
    controller.control.demand("release", session=controller.session)
    running.run("sed", "-i", "s/^worker_cpus = .*/worker_cpus = [1]/", "/etc/gaitd/gaitd.toml")
    policies = running.run("gaitctl", "list")
    running.run("dpkg", "--install", "/delivery/gaitd.deb")
    assert running.show("gaitd", "ActiveState") == "active"
    assert running.show("gaitd", "MainPID") != pid
    assert running.run("gaitctl", "list") == policies
    assert "worker_cpus = [1]" in running.run("cat", "/etc/gaitd/gaitd.toml")


class _Walk:
    """Keeps a session alive from a thread."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._walk)

    def _walk(self) -> None:
        while not self._done.is_set():
            self._controller.step()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _activate_when_ready(controller: Controller, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while not controller.status()["worker"]["ready"] and time.monotonic() < end_s:
        time.sleep(0.02)
    controller.activate()
