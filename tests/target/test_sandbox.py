"""What the service may do and who may reach it, under the real systemd in a container."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from machine import UNPROTECTED_UNIT, Machine, probe_unit, until
from rootfs import ROOT

from support.daemon import scrape

pytestmark = pytest.mark.target

READY = re.compile(r"^gaitd_worker_ready(\{[^}]*\})? 1\.0$", re.MULTILINE)
PROBE = "/opt/gaitd/bin/python3.11 /delivery/sandbox_probe.py"


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
        assert mode == "srw-rw----", name


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
    sandboxed = _probe(machine, "probe", probe_unit(unit, PROBE))
    control = _probe(machine, "control", probe_unit(UNPROTECTED_UNIT, PROBE))
    assert {name for name in MUST_FAIL | MUST_WORK if not control[name]} == set()
    assert {name for name in MUST_WORK if not sandboxed[name]} == set()
    assert {name for name in MUST_FAIL if sandboxed[name]} == set()
    assert sandboxed["network interfaces"] <= 1


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

    until(lambda: READY.search(scrape()) is not None, 5)
    assert re.search(r'^gaitd_mode\{[^}]*mode="idle"[^}]*\} 1\.0$', scrape(), re.MULTILINE)
    pid = running.show("gaitd", "MainPID")
    namespaces = {running.run("readlink", f"/proc/{which}/ns/net") for which in (pid, "1")}
    assert len(namespaces) == 2
    running.run("systemctl", "stop", "gaitd-metrics.socket", "gaitd-metrics.service")
    assert scrape() == ""
    assert running.show("gaitd", "ActiveState") == "active"


def test_metrics_on_the_unix_socket(running: Machine) -> None:
    def worker_is_ready() -> bool:
        try:
            return READY.search(scrape(running.seen_from_here("/run/gaitd/metrics.sock"))) is not None
        except OSError:  # telemetry is still on its way
            return False

    until(worker_is_ready, 5)


def test_a_scrape_starts_nothing(machine: Machine) -> None:
    machine.run("systemctl", "start", "gaitd-metrics.socket")
    connect = "import socket; socket.create_connection(('127.0.0.1', 9468), 1)"
    machine.run("/opt/gaitd/bin/python3.11", "-c", connect)
    assert machine.show("gaitd", "ActiveState") == "inactive"


def test_tcp_needs_the_drop_in_and_a_key(machine: Machine) -> None:
    keys = "/etc/gaitd"
    machine.run("gaitctl", "keygen", "robot", "--directory", keys)
    machine.run("gaitctl", "keygen", "alice", "--directory", keys)
    machine.run("chown", "gaitd", f"{keys}/robot.key")
    machine.run("cp", f"{keys}/alice.pub", f"{keys}/allowed_keys")
    config = machine.seen_from_here("/etc/gaitd/gaitd.toml.d/50-network.toml")
    drop_in = machine.seen_from_here("/etc/systemd/system/gaitd.service.d/network.conf")
    status = ["gaitctl", "status", "--robot", "127.0.0.1", "--server-key", f"{keys}/robot.pub", "--key"]
    config.write_text(
        f'[network]\naddress = "127.0.0.1"\nserver_key = "{keys}/robot.key"\n'
        f'allowed_keys = "{keys}/allowed_keys"\n'
    )
    try:
        assert machine.attempt("systemctl", "start", "gaitd").returncode != 0
        assert "add the drop-in examples/network.conf" in machine.journal("gaitd")
        drop_in.parent.mkdir()
        shutil.copy(ROOT / "systemd/examples/network.conf", drop_in)
        drop_in.write_text(drop_in.read_text().replace("192.168.1.0/24", "127.0.0.0/8"))
        machine.run("systemctl", "daemon-reload")
        machine.attempt("systemctl", "reset-failed", "gaitd")
        machine.run("systemctl", "start", "gaitd")
        assert "IDLE" in machine.run(*status, f"{keys}/alice.key").upper()
        assert machine.attempt(*status, f"{keys}/robot.key").returncode == 5
    finally:
        config.unlink()
        shutil.rmtree(drop_in.parent, ignore_errors=True)
        machine.run("systemctl", "daemon-reload")
        machine.attempt("systemctl", "stop", "gaitd")
        machine.attempt("systemctl", "reset-failed", "gaitd")
