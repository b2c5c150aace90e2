"""Round trips of everything that is measured, interleaved in rounds so that all meet the same noise."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hdrh.histogram import HdrHistogram

from gaitd.bundle.read import open_bundle
from gaitd.ctl.client import ControlClient
from gaitd.errors import InputError
from gaitd.system.memory import resident_bytes
from gaitforge.stack import contenders
from gaitforge.stack.contenders import CLOSED, CONTENDERS, Contender

MAX_NS, DIGITS = 10_000_000_000, 3
"""Of a histogram: its largest value, and significant decimal digits."""
SECONDS = 2.0
"""Of a block, about."""


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


@dataclass
class Measured:
    """One contender at one rate under one load."""

    contender: str
    load: str
    rate_hz: float
    lost: int = 0
    rounds: list[HdrHistogram] = field(default_factory=list)
    """Nanoseconds."""

    def add(self, latencies_us: Sequence[float], lost: int) -> None:
        """One round's block."""
        histogram = HdrHistogram(1, MAX_NS, DIGITS)
        for value in latencies_us:
            histogram.record_value(round(value * 1000))
        self.rounds.append(histogram)
        self.lost += lost

    @property
    def whole(self) -> HdrHistogram:
        """All rounds together."""
        histogram = HdrHistogram(1, MAX_NS, DIGITS)
        for each in self.rounds:
            histogram.add(each)
        return histogram


@dataclass(frozen=True)
class Results:
    """All that was measured."""

    measured: list[Measured]
    memory_mb: dict[str, float]
    """Resident, of gaitd's hot processes; shared pages count in each."""


def measure(options: Options) -> Results:
    """Measure everything.

    Raises InputError without echo_bench, GaitdError when a part does not start or a block fails.
    """
    if not os.access(options.echo, os.X_OK):
        raise InputError(f"{options.echo}: no built echo_bench there; `make cpp` builds it")
    own_hz = 1.0 / open_bundle(options.bundle).manifest.control_period_s
    rates_hz = options.rates_hz or (own_hz, 500.0, 1000.0, CLOSED)
    options.output.mkdir(parents=True, exist_ok=True)
    measured: list[Measured] = []
    memory_mb: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory(prefix="gaitd-") as scratch,
        (options.output / "servers.log").open("wb") as log,
    ):
        for number, rate_hz in enumerate(rates_hz):
            directory = Path(scratch) / f"rate{number}"
            with contenders.servers(options.bundle, options.echo, directory, rate_hz, log):
                for load in options.loads:
                    with contenders.load(load):
                        measured += _rounds(options, directory, rate_hz, load)
                if rate_hz != CLOSED:
                    memory_mb = memory_mb or _memory_mb(directory / "gaitd")
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    return Results(measured, memory_mb)


def _rounds(options: Options, directory: Path, rate_hz: float, load: str) -> list[Measured]:
    here = [each for each in CONTENDERS if each.closed or rate_hz != CLOSED]
    found = {each.name: Measured(each.name, load, round(rate_hz, 3)) for each in here}
    count = 2000 if rate_hz == CLOSED else max(100, round(SECONDS * rate_hz))
    for number in range(options.rounds):
        print(f"\r{load}, {rate_hz:g} Hz: round {number + 1} ...", end="", file=sys.stderr, flush=True)
        for contender in _turned(here, number):
            block = contenders.run_block(contender, options.echo, directory, rate_hz, count)
            found[contender.name].add(*block)
    return list(found.values())


def _turned(here: list[Contender], number: int) -> list[Contender]:
    """Another one begins in each round."""
    first = number % len(here)
    return here[first:] + here[:first]


def _memory_mb(runtime_dir: Path) -> dict[str, float]:
    memory: dict[str, float] = {}
    with contextlib.closing(ControlClient(runtime_dir)) as client:
        status = client.demand("status")
    for name, pid in (("guardian", status["guardian_pid"]), ("worker", status["worker"]["pid"])):
        memory[name] = resident_bytes(pid) / 1e6
    return {**memory, "together": sum(memory.values())}
