"""Runs on the emulated board at its second boot: what a robot's owner would do and look at.

Writes report.json, which test_board.py judges.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

PYTHON = "/opt/gaitd/bin/python3.11"
PATIENCE_S = 90.0
"""For whatever has to happen: an emulator is slow."""


def run(*command: str) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def until(condition: Callable[[], Any]) -> Any:
    end_s = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > end_s:
            raise TimeoutError(condition.__qualname__)
        time.sleep(0.1)
    return value


def status() -> dict[str, Any]:
    def answer() -> Any:
        done = run("gaitctl", "status", "--json")
        found = json.loads(done["out"]) if done["code"] == 0 else None
        return found if found and found["worker"]["ready"] else None

    return until(answer)  # type: ignore[no-any-return]


def start_to_ready() -> dict[str, float]:
    """By systemd's own clock, which counts from power-on."""
    names = ["ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"]
    shown = run("systemctl", "show", "gaitd", *(f"--property={name}" for name in names))["out"]
    begin_us, ready_us = (int(re.search(rf"{name}=(\d+)", shown)[1]) for name in names)  # type: ignore[index]
    return {"ready_after_boot_s": ready_us / 1e6, "start_to_ready_s": (ready_us - begin_us) / 1e6}


def scheduling(pid: int) -> dict[str, Any]:
    limits = Path(f"/proc/{pid}/limits").read_text()
    return {
        "fifo": os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO,
        "priority": os.sched_getparam(pid).sched_priority,
        "cpus": sorted(os.sched_getaffinity(pid)),
        "rtprio": re.search(r"realtime priority\s+(\S+)", limits)[1],  # type: ignore[index]
        "memlock": re.search(r"locked memory\s+(\S+)", limits)[1],  # type: ignore[index]
        "locked_kb": int(
            re.search(r"VmLck:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]  # type: ignore[index]
        ),
    }


class Walk:
    """The C++ controller with a robot that stands still."""

    def __init__(self) -> None:
        self._robot = subprocess.Popen([PYTHON, "/trial/standing_robot.py", "30010"])
        options = "--hello-timeout 60 --stand-up 0.2 --stand-up-again 0.2 --seconds 500 --log ticks.csv"
        with Path("controller.log").open("w") as log:
            self._controller = subprocess.Popen(
                ["/trial/lite3_controller", *options.split()], stdout=log, stderr=log
            )

    def wait_for(self, text: str, count: int) -> None:
        """Until the controller has said it so often."""

        def said() -> bool:
            assert self._controller.poll() is None, "the controller ended"
            return Path("controller.log").read_text().count(text) >= count

        until(said)

    def end(self) -> dict[str, Any]:
        self._controller.send_signal(signal.SIGTERM)
        code = self._controller.wait(20)
        self._robot.kill()
        self._robot.wait()
        return {"code": code, "log": Path("controller.log").read_text()}

    @staticmethod
    def after(moment_ns: int) -> dict[str, Any]:
        """How the controller's commands went on after something happened: from its log, at the end."""
        with Path("ticks.csv").open() as file:
            ticks = [tick for tick in csv.DictReader(file) if int(tick["monotonic_ns"]) >= moment_ns]
        damping = next(index for index, tick in enumerate(ticks) if tick["mode"] == "damping")
        again = damping + [tick["mode"] for tick in ticks[damping:]].index("active")
        return {
            "damping_after_ms": (int(ticks[damping]["monotonic_ns"]) - moment_ns) / 1e6,
            "reason": ticks[damping]["reason"],
            "active_again_after_s": (int(ticks[again]["monotonic_ns"]) - moment_ns) / 1e9,
            "modes": [mode for mode, _ in itertools.groupby(tick["mode"] for tick in ticks[damping:again])],
        }


def faults() -> dict[str, Any]:
    """The worker is killed; the guardian hangs until the watchdog ends it; a session comes after each."""
    walk = Walk()
    moments = {}
    try:
        walk.wait_for("moves the robot", 1)
        worker_pid = status()["worker"]["pid"]
        moments["worker killed"] = time.monotonic_ns()
        os.kill(worker_pid, signal.SIGKILL)
        walk.wait_for("moves the robot", 2)
        status()
        main_pid = int(run("systemctl", "show", "--property=MainPID", "--value", "gaitd")["out"])
        moments["guardian stopped"] = time.monotonic_ns()
        os.kill(main_pid, signal.SIGSTOP)
        walk.wait_for("moves the robot", 3)
    finally:
        report: dict[str, Any] = walk.end()
    report.update({name: walk.after(moment_ns) for name, moment_ns in moments.items()})
    report["restarts"] = run("systemctl", "show", "--property=NRestarts", "--value", "gaitd")["out"].strip()
    return report


def on_the_cpu() -> dict[str, Any]:
    """The other backend, by configuration."""
    Path("/etc/gaitd/gaitd.toml.d/backend.toml").write_text('[daemon]\nbackend = "onnx"\n')
    run("systemctl", "restart", "gaitd")
    report: dict[str, Any] = {"worker": status()["worker"], **start_to_ready()}
    walk = Walk()
    try:
        walk.wait_for("moves the robot", 1)
    finally:
        report["controller"] = walk.end()
    return report


def protections() -> dict[str, Any]:
    """What the unit's limits hold back, tried in the unit and, as a control, in one without protections."""
    report = {}
    for name in ("sandboxed", "control"):
        unit = f"probe-{name}.service"
        Path(f"/run/systemd/system/{unit}").write_text(Path(unit).read_text())
        run("systemctl", "daemon-reload")
        run("systemctl", "start", unit)
        journal = run("journalctl", f"--unit={unit}", "--output=cat", "--no-pager")["out"]
        report[name] = [line.removeprefix("can ") for line in journal.splitlines() if line.startswith("can ")]
    return report


def metrics() -> str:
    with urllib.request.urlopen("http://127.0.0.1:9468/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def removal() -> dict[str, Any]:
    report = {
        "remove": run("dpkg", "--remove", "gaitd"),
        "kept": Path("/var/lib/gaitd/selection.json").is_file(),
    }
    report["purge"] = run("dpkg", "--purge", "gaitd")
    left = run("find", "/", "-xdev", "-name", "*gaitd*")["out"].split()
    return {**report, "left": [path for path in left if not path.startswith(("/tmp/", "/trial/"))]}


def main() -> None:
    report: dict[str, Any] = {"errors": {}}

    def part(name: str, action: Callable[[], Any]) -> None:
        begin_s = time.monotonic()
        try:
            report[name] = action()
        except Exception as error:
            report["errors"][name] = repr(error)
        report.setdefault("seconds", {})[name] = round(time.monotonic() - begin_s, 1)
        Path("report.json").write_text(json.dumps(report, indent=1))

    until(lambda: run("systemctl", "is-active", "gaitd")["code"] == 0)
    part("boot", start_to_ready)
    part("status", status)
    part("doctor", lambda: run("gaitctl", "doctor"))
    part("doctor_json", lambda: json.loads(run("gaitctl", "doctor", "--json")["out"]))
    part("worker", lambda: scheduling(status()["worker"]["pid"]))
    part("faults", faults)
    part("metrics", metrics)
    part("recordings", lambda: run("ls", "/var/lib/gaitd/recordings")["out"].split())
    part("selftest", lambda: json.loads(run("gaitctl", "selftest", "--json", "--seconds", "1")["out"]))
    part("bench", lambda: run("gaitctl", "bench", "--seconds", "0.5", "--output", "/tmp/gaitd-bench.json"))
    part("on_the_cpu", on_the_cpu)
    part("protections", protections)
    part("journal", lambda: run("journalctl", "--unit=gaitd", "--no-pager")["out"])
    # PYTHON is gone after this: nothing may be imported any more.
    part("removal", removal)


if __name__ == "__main__":
    main()
