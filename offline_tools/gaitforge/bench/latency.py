"""Round trips of everything that is compared, interleaved in rounds so that all meet the same noise."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gaitd.bundle.read import open_bundle
from gaitforge.bench import contenders
from gaitforge.bench.block import CLOSED, Cores, check_built, cores
from gaitforge.bench.contenders import CONTENDERS, Contender, Servers
from gaitforge.bench.daemon import at_rate, daemon
from gaitforge.bench.measured import Measured

CPU_RATES_HZ = 500.0
"""Up to here what the daemon takes of the CPU is measured with and without anticipation."""
CPU_S = 10.0
"""So long each."""


@dataclass(frozen=True)
class Options:
    """What is measured, and how long."""

    bundle: Path
    echo: Path
    """The built echo_bench."""
    output: Path
    """Directory of the results."""
    rounds: int
    """Of each rate under each load; each contender has one block in a round."""
    rates_hz: Sequence[float] = ()
    """0: closed loop; none: the policy's own rate, 500, 1000 and closed loop."""
    loads: Sequence[str] = ("idle", "busy")
    seconds: float = 2.0
    """Of a block, about."""
    names: Sequence[str] = ()
    """Of contenders; none: all. The bare echo is always there."""


@dataclass(frozen=True)
class Results:
    """All that was measured."""

    measured: list[Measured]
    memory_mb: float
    """Of all of gaitd's processes; shared pages count once."""
    cpu: list[dict[str, Any]]
    """What the whole daemon takes, as it is and without anticipation."""


def measure(options: Options) -> Results:
    """Measure everything.

    Raises InputError without echo_bench, GaitdError when a part does not start or a block fails.
    """
    check_built(options.echo)
    own_hz = 1.0 / open_bundle(options.bundle).manifest.control_period_s
    rates_hz = options.rates_hz or (own_hz, 500.0, 1000.0, CLOSED)
    options.output.mkdir(parents=True, exist_ok=True)
    measured: list[Measured] = []
    cpu: list[dict[str, Any]] = []
    memory_mb = 0.0
    pinned = cores()
    with (
        tempfile.TemporaryDirectory(prefix="gaitd-") as scratch,
        (options.output / "servers.log").open("wb") as log,
    ):
        for number, rate_hz in enumerate(rates_hz):
            directory = Path(scratch) / f"rate{number}"
            with contenders.servers(options.bundle, options.echo, directory, rate_hz, log, pinned) as servers:
                for load in options.loads:
                    with contenders.load(load):
                        measured += _rounds(options, servers, rate_hz, load)
                if servers.gaitd is not None:
                    memory_mb = memory_mb or servers.gaitd.memory_mb()
            if CLOSED < rate_hz <= CPU_RATES_HZ:
                cpu += _cpu(options, directory, rate_hz, pinned, log)
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    return Results(measured, memory_mb, cpu)


def _rounds(options: Options, servers: Servers, rate_hz: float, load: str) -> list[Measured]:
    wanted = (contenders.ECHO, *options.names)
    here = [
        each
        for each in CONTENDERS
        if (each.closed or rate_hz != CLOSED) and (not options.names or each.name in wanted)
    ]
    found = {each.name: Measured(each.name, load, round(rate_hz, 3)) for each in here}
    for number in range(options.rounds):
        print(f"\r{load}, {rate_hz:g} Hz: round {number + 1} ...", end="", file=sys.stderr, flush=True)
        for contender in _turned(here, number):
            count = _count(rate_hz, options.seconds)
            found[contender.name].add(servers.block(contender, rate_hz, count))
    return list(found.values())


def _turned(here: list[Contender], number: int) -> list[Contender]:
    """Another one begins in each round."""
    first = number % len(here)
    return here[first:] + here[:first]


def _count(rate_hz: float, seconds: float) -> int:
    return round(1000 * seconds) if rate_hz == CLOSED else max(100, round(seconds * rate_hz))


def _cpu(
    options: Options, directory: Path, rate_hz: float, pinned: Cores, log: IO[bytes]
) -> list[dict[str, Any]]:
    """Over shared memory, idle, each in a daemon of its own."""
    bundle = at_rate(options.bundle, rate_hz, directory / "cpu.gaitd")
    rows = []
    for setting, lines in (("as it is", ""), ("without anticipation", "anticipate_ms = 0\n")):
        print(f"\rCPU at {rate_hz:g} Hz, {setting} ...", end="", file=sys.stderr, flush=True)
        found = Measured(setting, "idle", round(rate_hz, 3))
        with daemon(bundle, directory, options.echo, log, pinned=pinned, realtime=lines) as gaitd:
            found.add(gaitd.block("shm", rate_hz, _count(rate_hz, CPU_S), pinned.client))
        place = {"setting": setting, "rate_hz": found.rate_hz}
        rows.append({**place, **found.times(), "processes": found.processes()})
    return rows
