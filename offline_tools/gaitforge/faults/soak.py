"""A long walk with random commands, pushes and faults; every state must be accounted for."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gaitd.errors import GateError
from gaitd.wire.codec import encode_state
from gaitforge.faults.catalog import FAULTS
from gaitforge.faults.peers import Peer, foreign_state
from gaitforge.faults.resource_monitor import ResourceMonitor
from gaitforge.faults.rig import Rig, Setting
from gaitforge.faults.runner import run_trial
from gaitforge.stack.processes import Walk

COMMAND_S, PUSH_S = 3.0, 8.0
"""A new velocity command, and a push, about this often."""
LARGEST_COMMAND, LARGEST_PUSH_M_PER_S = 0.7, 0.3
FOREIGN_PER_PERIOD = 32
"""States of an unknown session, besides the controller's own: each must be counted as such."""
SOAK_FAULTS = (
    "worker: kill -9",
    "action NaN, once",
    "inference hangs 500 ms, lock held",
    "telemetry: kill -9",
    "every run fails",
    "malformed messages to every socket",
    "worker: stopped (SIGSTOP)",
    "second controller: activate, states, release",
    "action NaN, for ever",
    "gaitctl damp",
)
LOST_SHARE = 0.002
"""Allowed share of the controller's states: an overloaded machine loses one now and then; it is counted."""
WARM_S = 20.0
"""Warm-up of a process, before its memory is sampled."""
GROWTH_KB_PER_HOUR, GROWTH_KB = 1024, 512
"""Allowed growth of a process's memory: per hour, and once."""


@dataclass
class Tally:
    """What is counted during the walk."""

    faults: list[dict[str, Any]] = field(default_factory=list)
    foreign_sent: int = 0
    foreign_counted: int = 0
    lost: int = 0
    """States of the controller that never arrived, without a fault: gaps in their sequence numbers."""
    worker_deaths: int = 0
    misses: list[str] = field(default_factory=list)


def run_soak(
    bundle: Path, controller: Path, output: Path, *, minutes: float, every_s: float, seed: int
) -> None:
    """Walk for ``minutes`` with a fault every ``every_s``.

    Raises GateError naming what is unaccounted for or has grown, GaitdError when a process does not start."""
    output.mkdir(parents=True, exist_ok=True)
    seconds = minutes * 60.0
    faults = [fault for name in SOAK_FAULTS for fault in FAULTS if fault.name == name]
    tally = Tally()
    walk = _random_walk(seconds, random.Random(seed), output / "commands.csv")
    with Rig(bundle, controller, output, Setting("soak"), walk) as rig:
        until_s = time.monotonic() + seconds
        monitor = ResourceMonitor(rig.pid_of, WARM_S)
        count = 0
        while time.monotonic() < until_s:
            _walk_quietly(rig, tally, monitor, min(until_s, time.monotonic() + every_s))
            if time.monotonic() >= until_s:
                break
            fault = faults[count % len(faults)]
            count += 1
            starts = rig.known["worker"]["starts"]
            trial = run_trial(rig, fault)
            tally.worker_deaths += rig.wait_walking()["worker"]["starts"] - starts
            wrong = trial.error or (
                "" if trial.gaitd_reason in (fault.reasons or {""}) else trial.gaitd_reason
            )
            if wrong:
                tally.misses.append(f"{fault.name}: {wrong}")
            tally.faults.append({"fault": fault.name, "reason": trial.gaitd_reason, "error": trial.error})
            print(f"{'MISS' if wrong else 'ok  '} {fault.name}: {trial.gaitd_reason or '-'}", flush=True)
        accounts = rig.accounts()
    _judge(tally, accounts, monitor, output)


def _random_walk(seconds: float, rng: random.Random, script: Path) -> Walk:
    times = [step * COMMAND_S for step in range(int(seconds * 2 / COMMAND_S) + 1)]
    rows = [[round(rng.uniform(-LARGEST_COMMAND, LARGEST_COMMAND), 2) for _ in range(3)] for _ in times]
    lines = [f"{at_s:g},{a},{b},{c}" for at_s, (a, b, c) in zip(times, rows, strict=True)]
    script.write_text("\n".join(["t_s,forward,left,yaw", *lines]) + "\n")
    largest = LARGEST_PUSH_M_PER_S
    pushes = [
        f"{at_s:g}:{rng.uniform(-largest, largest):.2f},{rng.uniform(-largest, largest):.2f}"
        for at_s in (PUSH_S * (1 + index) for index in range(int(seconds / PUSH_S)))
    ]
    return Walk(seconds=seconds * 2 + 120.0, script=script, pushes=pushes)


def _walk_quietly(rig: Rig, tally: Tally, monitor: ResourceMonitor, until_s: float) -> None:
    """Walk without a fault; all states of the second publisher must arrive and be counted."""
    rig.wait_walking()
    before = rig.accounts()
    publisher = _ForeignPublisher(rig)
    while time.monotonic() < until_s:
        monitor.sample()
        time.sleep(1.0)
    sent = publisher.end()
    counted, deadline_s = 0, time.monotonic() + 2.0
    while counted < sent and time.monotonic() < deadline_s:
        counted = rig.accounts()["foreign"] - before["foreign"]
        time.sleep(0.02)
    after = rig.accounts()
    tally.foreign_sent += sent
    tally.foreign_counted += counted
    if counted != sent:
        tally.misses.append(f"{sent} foreign states sent, {counted} counted")
    lost = after["missed"] - before["missed"]
    tally.lost += lost
    if lost > LOST_SHARE * (after["steps"] - before["steps"]):
        tally.misses.append(f"{lost} states lost without a fault")


class _ForeignPublisher:
    """Sends states of an unknown session from a thread, one burst per control period."""

    def __init__(self, rig: Rig) -> None:
        self._frame = encode_state(foreign_state(len(rig.manifest.joints)))
        self._peer = Peer(rig.runtime_dir, "state")
        self._period_s = rig.period_ns / 1e9
        self._sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> int:
        """Stop; returns how many were sent."""
        self._stop.set()
        self._thread.join()
        time.sleep(0.2)
        self._peer.close()
        return self._sent

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            for _ in range(FOREIGN_PER_PERIOD):
                self._peer.send(self._frame)
            self._sent += FOREIGN_PER_PERIOD


def _judge(tally: Tally, accounts: dict[str, int], monitor: ResourceMonitor, output: Path) -> None:
    parts = ("standby", "refused", "superseded", "withheld", "steps")
    open_items = accounts["received"] - sum(accounts[name] for name in parts)
    if not 0 <= open_items <= tally.worker_deaths:
        tally.misses.append(
            f"{accounts['received']} states received, {open_items} of them unaccounted for; "
            f"{tally.worker_deaths} workers died, each while handling at most one"
        )
    tally.misses += monitor.excesses(GROWTH_KB, GROWTH_KB_PER_HOUR)
    result = {
        "accounts": accounts,
        "unanswered_at_a_death": open_items,
        "processes": monitor.summary(),
        **asdict(tally),
        "ok": not tally.misses,
    }
    (output / "soak.json").write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"\nreceived     {accounts['received']}\n"
        + "".join(f"  {name:10} {accounts[name]}\n" for name in parts)
        + f"  unanswered {open_items} when one of {tally.worker_deaths} workers died\n"
        f"lost         {tally.lost} in transit, without a fault\n"
        f"foreign      {tally.foreign_sent} sent, {tally.foreign_counted} counted\n"
        f"faults       {len(tally.faults)}"
    )
    for name, text in monitor.summary().items():
        print(f"{name:12} {text}")
    print(f"{output}/soak.json")
    if tally.misses:
        raise GateError("the soak: " + "; ".join(tally.misses))
