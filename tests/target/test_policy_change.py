"""Another policy, another version of gaitd: under the real systemd in a container."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from machine import Machine, repack, until
from walking import Walk

from support.controller import Controller

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.target


def test_a_policy_that_fails_its_self_test_never_stays(running: Machine) -> None:
    before = running.run("gaitctl", "list")
    done = running.attempt("gaitctl", "install", "/delivery/lying.gaitd", "--activate")
    assert done.returncode == 3
    assert "golden vector" in done.stderr
    assert "gaitd is again on" in done.stderr
    assert [line for line in running.run("gaitctl", "list").splitlines() if "active" in line] == [
        line for line in before.splitlines() if "active" in line
    ]
    until(lambda: '"ready": true' in running.run("gaitctl", "status", "--json"), 10)


def test_activate_and_roll_back(running: Machine) -> None:
    running.run("gaitctl", "install", "/delivery/better.gaitd", "--activate")
    assert "lite3_like 1.1.0" in running.run("gaitctl", "status")
    running.run("gaitctl", "rollback")
    assert "lite3_like 1.0.0" in running.run("gaitctl", "status")


def test_no_policy_change_while_walking(running: Machine, controller: Controller) -> None:
    session = controller.activate()
    with Walk(controller):
        done = running.attempt("gaitctl", "install", "/delivery/better.gaitd", "--activate")
    assert done.returncode == 2
    assert f"session {session} is active" in done.stderr
    assert running.show("gaitd", "ActiveState") == "active"


def test_upgrade_is_refused_while_walking_and_keeps_everything(
    running: Machine, controller: Controller
) -> None:
    controller.activate()
    pid = running.show("gaitd", "MainPID")
    with Walk(controller):
        refused = running.attempt("dpkg", "--install", "/delivery/gaitd.deb")
    assert refused.returncode != 0
    assert "active session" in refused.stderr
    assert running.show("gaitd", "MainPID") == pid
    controller.control.demand("release", session=controller.session)
    policies = running.run("gaitctl", "list")
    running.run("dpkg", "--install", "/delivery/gaitd.deb")
    assert running.show("gaitd", "ActiveState") == "active"
    assert running.show("gaitd", "MainPID") != pid
    assert running.run("gaitctl", "list") == policies


def test_an_unattended_upgrade_keeps_the_owners_configuration_and_runs(
    running: Machine, amd64_package: Path
) -> None:
    newer = running.seen_from_here("/delivery/newer.deb")
    repack(amd64_package, newer, version="999", config="[guard]\nstance_s = 0.1\n[recorder]\nkeep = 7\n")
    drop_in = running.seen_from_here("/etc/gaitd/gaitd.toml.d/50-own.toml")
    drop_in.write_text("[guard]\nstance_s = 0.2\n")
    unattended = ("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install")
    try:
        pid = running.show("gaitd", "MainPID")
        running.run(*unattended, "/delivery/newer.deb")
        assert running.show("gaitd", "ActiveState") == "active"
        assert running.show("gaitd", "MainPID") != pid
        config = tomllib.loads(running.run("gaitd", "config"))
        assert config["guard"]["deadline_periods"] == 20  # in the owner's file all along
        assert config["guard"]["stance_s"] == 0.2
        assert config["recorder"]["keep"] == 7  # the new package's
    finally:
        drop_in.unlink()
        running.run(*unattended, "/delivery/gaitd.deb")


def test_an_upgrade_that_fails_leaves_the_old_one_running(running: Machine, amd64_package: Path) -> None:
    broken = running.seen_from_here("/delivery/broken.deb")
    repack(amd64_package, broken, version="999", preinst="#!/bin/sh\nexit 1\n")
    pid = running.show("gaitd", "MainPID")
    assert running.attempt("dpkg", "--install", "/delivery/broken.deb").returncode != 0
    assert running.show("gaitd", "ActiveState") == "active"
    assert running.show("gaitd", "MainPID") != pid
    assert "install ok installed" in running.run("dpkg-query", "--status", "gaitd")
