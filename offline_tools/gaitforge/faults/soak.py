"""A long walk with random commands, pushes and faults, after which the books must balance."""

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
from gaitforge.faults.census import Census
from gaitforge.faults.peers import Peer, foreign_state
from gaitforge.faults.rig import Rig, Setting
from gaitforge.faults.runner import run_trial
from gaitforge.stack.processes import Walk

COMMAND_S, PUSH_S = 3.0, 8.0
"""A new velocity command, and a push, about this often."""
LARGEST_COMMAND, LARGEST_PUSH_M_PER_S = 0.7, 0.3
FOREIGN_PER_PERIOD = 32
"""States of a session that nobody has, beside the controller's own: each must be counted as such."""
SOAK_FAULTS = (
    "worker: kill -9",
    "action NaN, once",
    "inference hangs 500 ms, lock held",
    "telemetry: kill -9",
    "every run fails",
    "junk to every socket",
    "worker: stopped (SIGSTOP)",
    "second controller: activate, states, release",
    "action NaN, for ever",
    "gaitctl damp",
)
LOST_SHARE = 0.002
"""Of the controller's states: a starved machine costs one now and then, and it is counted."""
WARM_S = 20.0
"""A process's memory counts from this age on."""
GROWTH_KB_PER_HOUR, GROWTH_KB = 1024, 512
"""What a process may grow: by the hour, and once."""


@dataclass
class Books:
    """What is written down during the walk."""

    faults: list[dict[str, Any]] = field(default_factory=list)
    foreign_sent: int = 0
    foreign_counted: int = 0
    lost: int = 0
    """Of the controller's states, without a fault: gaps in their numbers."""
    worker_deaths: int = 0
    misses: list[str] = field(default_factory=list)


def run_soak(
    bundle: Path, controller: Path, output: Path, *, minutes: float, every_s: float, seed: int
) -> None:
    """Walk for ``minutes`` with a fault every ``every_s``.

    Raises GateError naming what does not add up, GaitdError when a part does not start."""
    output.mkdir(parents=True, exist_ok=True)
    seconds = minutes * 60.0
    faults = [fault for name in SOAK_FAULTS for fault in FAULTS if fault.name == name]
    books = Books()
    walk = _random_walk(seconds, random.Random(seed), output / "commands.csv")
    with Rig(bundle, controller, output, Setting("soak"), walk) as rig:
        until_s = time.monotonic() + seconds
        census = Census(rig.pid_of, WARM_S)
        count = 0
        while time.monotonic() < until_s:
            _walk_quietly(rig, books, census, min(until_s, time.monotonic() + every_s))
            if time.monotonic() >= until_s:
                break
            fault = faults[count % len(faults)]
            count += 1
            starts = rig.known["worker"]["starts"]
            trial = run_trial(rig, fault)
            books.worker_deaths += rig.wait_walking()["worker"]["starts"] - starts
            wrong = trial.error or (
                "" if trial.gaitd_reason in (fault.reasons or {""}) else trial.gaitd_reason
            )
            if wrong:
                books.misses.append(f"{fault.name}: {wrong}")
            books.faults.append({"fault": fault.name, "reason": trial.gaitd_reason, "error": trial.error})
            print(f"{'MISS' if wrong else 'ok  '} {fault.name}: {trial.gaitd_reason or '-'}", flush=True)
        accounts = rig.accounts()
    _judge(books, accounts, census, output)


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


def _walk_quietly(rig: Rig, books: Books, census: Census, until_s: float) -> None:
    """Walk without a fault; the second publisher's states must all arrive and be counted."""
    rig.wait_walking()
    before = rig.accounts()
    peer = _Foreigner(rig)
    while time.monotonic() < until_s:
        census.take()
        time.sleep(1.0)
    sent = peer.end()
    counted, patience_s = 0, time.monotonic() + 2.0
    while counted < sent and time.monotonic() < patience_s:
        counted = rig.accounts()["foreign"] - before["foreign"]
        time.sleep(0.02)
    after = rig.accounts()
    books.foreign_sent += sent
    books.foreign_counted += counted
    if counted != sent:
        books.misses.append(f"{sent} foreign states sent, {counted} counted")
    lost = after["missed"] - before["missed"]
    books.lost += lost
    if lost > LOST_SHARE * (after["steps"] - before["steps"]):
        books.misses.append(f"{lost} states lost without a fault")


class _Foreigner:
    """Sends states of a session that nobody has, from a thread, in a burst a control period."""

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


def _judge(books: Books, accounts: dict[str, int], census: Census, output: Path) -> None:
    parts = ("standby", "refused", "superseded", "rejected", "withheld", "steps")
    open_items = accounts["received"] - sum(accounts[name] for name in parts)
    if not 0 <= open_items <= books.worker_deaths:
        books.misses.append(
            f"{accounts['received']} states received, {open_items} of them unaccounted for; "
            f"{books.worker_deaths} workers died, each with one in hand at most"
        )
    books.misses += census.complaints(GROWTH_KB, GROWTH_KB_PER_HOUR)
    result = {
        "accounts": accounts,
        "in_hand_at_a_death": open_items,
        "processes": census.summary(),
        **asdict(books),
        "ok": not books.misses,
    }
    (output / "soak.json").write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"\nreceived     {accounts['received']}\n"
        + "".join(f"  {name:10} {accounts[name]}\n" for name in parts)
        + f"  in hand    {open_items} when one of {books.worker_deaths} workers died\n"
        f"lost         {books.lost} on their way, without a fault\n"
        f"foreign      {books.foreign_sent} sent, {books.foreign_counted} counted\n"
        f"faults       {len(books.faults)}"
    )
    for name, text in census.summary().items():
        print(f"{name:12} {text}")
    print(f"{output}/soak.json")
    if books.misses:
        raise GateError("the soak: " + "; ".join(books.misses))
