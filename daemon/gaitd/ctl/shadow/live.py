"""A candidate beside the policy that walks: a process of its own, which reads gaitd's memory.

Nobody starts it but the person who wants it, and nobody waits for it: neither the guardian nor a worker knows
that it is there.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass

from gaitd.backends.base import Backend
from gaitd.bundle.read import decode_manifest
from gaitd.ctl.replay.session import Replayable
from gaitd.ctl.shadow.follow import MemoryFollower
from gaitd.ctl.shadow.link import ShadowLink
from gaitd.ctl.shadow.reporting import MAX_NAME, Pair, one_line, report_of
from gaitd.ctl.shadow.tally import Tally
from gaitd.ctl.shadow.terms import TermComparison
from gaitd.errors import printable
from gaitd.policy.admission import AdmissionLimits
from gaitd.policy.manifest import Manifest
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.memory import read_all
from gaitd.shared.shadow import Memory, ShadowReport
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system import background
from gaitd.system.command_line import tell

MOST_BYTES = 512 * 1024 * 1024
"""Private memory: a model may take half of it, on the CPU."""
TELL_S, SAY_S = 1.0, 10.0
"""How often telemetry and the person hear of it."""


@dataclass(frozen=True)
class Walking:
    """The policy that walks, and where to read what it does."""

    about: Memory
    manifest: Manifest
    guard: GuardMemory
    workers: list[WorkerMemory]

    @classmethod
    def of(cls, link: ShadowLink, name: str) -> Walking:
        """Begin as its shadow, under that name, off the cores that it runs on. Raises GaitdError."""
        about, (guard_fd, manifest_fd, *worker_fds) = link.follow(printable(name, MAX_NAME))
        for note in background.avoid_cpus(about.hot_cpus):
            tell(f"gaitctl: note: {note}")
        manifest = decode_manifest(read_all(manifest_fd), about.bundle)
        os.close(manifest_fd)
        guard = GuardMemory(guard_fd, writable=False)
        return cls(about, manifest, guard, [WorkerMemory(fd, writable=False) for fd in worker_fds])

    @property
    def backend(self) -> str:
        """What the worker runs on."""
        return self.about.backends[self.guard.words["backend"]]


def follow(
    link: ShadowLink,
    walking: Walking,
    pair: Pair,
    backend: Backend,
    seconds: float | None,
    *,
    quiet: bool,
) -> ShadowReport:
    """Compare until the time is over, somebody ends it, or telemetry is gone; all that came of it."""
    about, bundle = walking.about, pair.candidate
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: done.set())
    policy = Replayable(bundle, backend, about.joints, pair.of)
    tally, terms = Tally(about.joints), TermComparison(bundle.manifest, walking.manifest)
    limits = AdmissionLimits(round(about.state_max_age_s * 1e9))
    follower = MemoryFollower(policy, walking.guard, walking.workers, limits, tally, terms)
    now_s = time.monotonic()
    end_s = float("inf") if seconds is None else now_s + seconds
    tell_s, say_s = now_s, now_s + SAY_S
    if not quiet:
        print(f"{pair.name} beside {pair.of}, against {pair.bound.source}", flush=True)
    while not done.is_set() and (now_s := time.monotonic()) < end_s:
        follower.look()
        if now_s >= tell_s:
            tell_s = now_s + TELL_S
            link.tell(report_of(pair, tally, terms))
        if now_s >= say_s and not quiet:
            say_s = now_s + SAY_S
            print(one_line(report_of(pair, tally, terms)), flush=True)
        if link.ended(about.period_s):
            tell("gaitctl: note: ended by gaitctl shadow --stop, or together with gaitd's telemetry")
            break
    report = report_of(pair, tally, terms)
    link.tell(report)
    return report


def keep_out_of_the_way() -> None:
    """Before the model is loaded: whatever that takes, it takes from this process alone."""
    background.keep_out_of_the_way(MOST_BYTES)
