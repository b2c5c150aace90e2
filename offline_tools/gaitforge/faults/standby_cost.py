"""What a standby costs while nothing fails: age of the commands, memory and CPU, with and without in turn."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from gaitforge.common.family import cpu_s, memory_mb
from gaitforge.faults.shared_memory import open_worker_memory
from gaitforge.stack.processes import Chain, Walk
from gaitforge.stack.ticks import Ticks

BOUNDS = {"age_p50": 1.05, "age_p99": 1.25, "memory": 1.7}
"""Allowed of what a standby makes of it, as a part of that without."""
WARM_S, LOOK_S, LAST_S = 3.0, 1.0, 1.0
"""Before the first sample; between looks at the worker's records, which go back 5 s; until the robot ends."""


@dataclass
class Cost:
    """Of all turns with a standby, or all without."""

    age_us: list[float] = field(default_factory=list)
    """From the controller's state to the command's leaving the worker, a step each."""
    tick_age_us: list[float] = field(default_factory=list)
    """The same until the command is in force, at the controller's ticks of 1 ms."""
    memory_mb: list[float] = field(default_factory=list)
    """Of all of gaitd's processes, shared pages counted once (PSS); a turn each."""
    cpu: list[float] = field(default_factory=list)
    """Of a core, by all of gaitd's processes; a turn each."""
    turns_us: list[tuple[float, float]] = field(default_factory=list)
    """p50 and p99 of age_us; a turn each."""
    damped: int = 0
    """Turns in which the robot did not walk all the time."""


@dataclass(frozen=True)
class Summary:
    """One of the two."""

    age_p50_us: float
    age_p99_us: float
    tick_age_p50_us: float
    tick_age_p99_us: float
    memory_mb: float
    cpu: float
    turns_us: list[tuple[float, float]]


def measure_cost(pairs: int, seconds: float, bundle: Path, controller: Path, output: Path) -> list[str]:
    """Walk straight at full command, without and with a standby in turn; print what that costs.

    Writes cost.json. Returns what was not met; raises GaitdError when a process does not start.
    """
    found: dict[str, Cost] = defaultdict(Cost)
    for turn in range(2 * pairs):
        mode = ("off", "on", "on", "off")[turn % 4]
        print(f"turn {turn + 1} of {2 * pairs}: standby {mode}, {seconds:g} s", flush=True)
        _walk(found[mode], mode, seconds, bundle, controller, output / "runs" / f"cost{turn}")
    off, on = (_summary(found[mode]) for mode in ("off", "on"))
    ratios = ratios_of(off, on)
    document = {"off": asdict(off), "on": asdict(on), "ratios": ratios, "bounds": BOUNDS}
    (output / "cost.json").write_text(json.dumps(document, indent=2) + "\n")
    for name, each in (("off", off), ("on", on)):
        print(
            f"standby {name:3}: age p50 {each.age_p50_us / 1e3:.3f} p99 {each.age_p99_us / 1e3:.3f} ms when "
            f"a command leaves, p50 {each.tick_age_p50_us / 1e3:.2f} p99 {each.tick_age_p99_us / 1e3:.2f} ms "
            f"in force; {each.memory_mb:.1f} MB; {100 * each.cpu:.1f} % of a core"
        )
    print(", ".join(f"{name} {ratio} times" for name, ratio in ratios.items()), f"\n{output}/cost.json")
    damped = sum(each.damped for each in found.values())
    return [*([f"{damped} turns with a damping"] if damped else []), *failures(ratios)]


def ratios_of(off: Summary, on: Summary) -> dict[str, float]:
    """What a standby makes of it, as a part of that without."""
    return {
        "age_p50": round(on.age_p50_us / off.age_p50_us, 3),
        "age_p99": round(on.age_p99_us / off.age_p99_us, 3),
        "memory": round(on.memory_mb / off.memory_mb, 3),
        "cpu": round(on.cpu / off.cpu, 3),
    }


def failures(ratios: dict[str, float]) -> list[str]:
    """Which bounds are not kept."""
    return [
        f"with a standby {name} is {ratios[name]} times that without, allowed is {bound}"
        for name, bound in BOUNDS.items()
        if not ratios[name] <= bound
    ]


def _walk(cost: Cost, mode: str, seconds: float, bundle: Path, controller: Path, directory: Path) -> None:
    """One turn."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "gaitd.toml"
    config.write_text(f'[standby]\nmode = "{mode}"\n')
    chain = Chain(
        bundle=bundle,
        controller=controller,
        directory=directory,
        walk=Walk(seconds=WARM_S + seconds + LAST_S, command="1,0,0"),
        gaitd_options=["--config", str(config)],
    )
    with chain:
        chain.wait_active()
        if mode == "on":
            chain.wait_until(lambda status: bool(status["standby"]["ready"]), "a standby", 20.0)
        time.sleep(WARM_S)
        pid = chain.pid("gaitd")
        ages_us: list[float] = []
        began_s, began_cpu_s, before = time.monotonic(), sum(cpu_s(pid).values()), _newest(pid)
        while time.monotonic() < began_s + seconds:
            chain.check_alive()
            time.sleep(LOOK_S)
            new, before = _ages_us(pid, before)
            ages_us += new
        cost.cpu.append((sum(cpu_s(pid).values()) - began_cpu_s) / (time.monotonic() - began_s))
        cost.memory_mb.append(memory_mb(pid))
        until_ns = time.monotonic_ns()
        ticks = chain.finish().ticks
    cost.age_us += ages_us
    p50, p99 = np.percentile(ages_us, (50, 99))
    cost.turns_us.append((round(float(p50), 1), round(float(p99), 1)))
    arrived = ticks.arrivals()
    within = (ticks.time_ns[arrived] >= round(began_s * 1e9)) & (ticks.time_ns[arrived] <= until_ns)
    cost.tick_age_us += ticks.age_us[arrived[within]].tolist()
    cost.damped += _was_damped(ticks, round(began_s * 1e9), until_ns)


def _was_damped(ticks: Ticks, from_ns: int, until_ns: int) -> bool:
    within = (ticks.time_ns >= from_ns) & (ticks.time_ns <= until_ns)
    return bool((ticks.mode[within] != "active").any())


def _newest(gaitd_pid: int) -> int:
    with open_worker_memory(gaitd_pid) as memory:
        return memory.steps.settled


def _ages_us(gaitd_pid: int, since: int) -> tuple[list[float], int]:
    """Of the worker's commands since that index, and the next one."""
    with open_worker_memory(gaitd_pid) as memory:
        records, newest = memory.steps.read_since(since)
        sent = records[records["sent_ns"] > 0]
        ages = (sent["sent_ns"].astype(np.int64) - sent["state_stamp_ns"].astype(np.int64)) / 1e3
        return ages.tolist(), newest


def _summary(cost: Cost) -> Summary:
    p50, p99 = np.percentile(cost.age_us, (50, 99))
    tick_p50, tick_p99 = np.percentile(cost.tick_age_us, (50, 99))
    return Summary(
        age_p50_us=round(float(p50), 1),
        age_p99_us=round(float(p99), 1),
        tick_age_p50_us=round(float(tick_p50), 1),
        tick_age_p99_us=round(float(tick_p99), 1),
        memory_mb=round(float(np.mean(cost.memory_mb)), 1),
        cpu=round(float(np.mean(cost.cpu)), 4),
        turns_us=cost.turns_us,
    )
