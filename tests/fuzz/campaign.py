"""Sends mutated messages through every reader and holds what they accept against the oracle.

A message that violates the contract and is accepted, one that is good and is refused, and any exception but
the documented one are findings. What only the sequence of states can violate is in admission.py, what the
guard lets through to the motors in actions.py.
"""

from __future__ import annotations

import itertools
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fuzz.actions import ActionRun
from fuzz.admission import AdmissionRun
from fuzz.mutate import mutant
from fuzz.oracle import Peers, is_command, is_raw_observation, is_reply, is_request, is_state
from fuzz.readers import NativeReaders, PythonReaders
from gaitd.bundle.read import open_bundle

BATCH = 500
ANSWERS = 200
"""Of a model, in a batch."""
MAX_FINDINGS = 20
TURN = (
    "state",
    "command",
    "admission",
    "state",
    "command",
    "request",
    "state",
    "reply",
    "raw_observation",
    "action",
    "command",
)
"""The kinds of the batches, in turn."""


@dataclass
class Tally:
    """What one run has seen."""

    violating: Counter[str] = field(default_factory=Counter)
    """By kind, messages that the oracle calls wrong: each was refused unless a finding says otherwise."""
    good: Counter[str] = field(default_factory=Counter)
    """By kind, messages that the oracle calls right."""
    readings: Counter[str] = field(default_factory=Counter)
    """By reader, how many violating messages it was given."""
    accepted: int = 0
    """Violating messages that a reader accepted."""
    findings: list[str] = field(default_factory=list)

    def __iadd__(self, other: Tally) -> Tally:
        self.violating += other.violating
        self.good += other.good
        self.readings += other.readings
        self.accepted += other.accepted
        self.findings += other.findings
        return self

    def find(self, what: str, kind: str, data: bytes, peers: Peers, seed: int) -> None:
        """Note a finding; after some it is enough."""
        if len(self.findings) < MAX_FINDINGS:
            where = f"kind {kind}, {peers.joints} joints, observation {peers.observation_dim}, seed {seed}"
            self.findings.append(f"{what}: {where}: {data.hex()}")


Reader = Callable[[bytes, Peers], bool]


def run(bundle: Path, judge: Path | None, seed: int, violating: int) -> Tally:
    """Go on until so many violating messages were judged; without a judge, by the Python readers alone."""
    rng = random.Random(seed)
    opened = open_bundle(bundle)
    python = PythonReaders(opened)
    admission = AdmissionRun(opened.manifest, rng)
    actions = ActionRun(opened.manifest, rng)
    tally = Tally()
    native = NativeReaders(judge) if judge is not None else None
    try:
        for kind in itertools.cycle(TURN):
            if tally.violating.total() >= violating or tally.findings:
                break
            if kind == "admission":
                admission.judge(BATCH, tally, seed)
                continue
            if kind == "action":
                actions.judge(ANSWERS, tally, seed)
                continue
            peers = replace(
                python.peers,
                joints=rng.choice((12, 12, 3, 1, 64)),
                observation_dim=rng.choice((45, 1, 300)),
                input_sizes=rng.choice(((), (), (2,), (1, 3, 64))),
            )
            messages = [mutant(rng, kind, peers) for _ in range(BATCH)]
            _judge(kind, messages, peers, python, native, tally, seed)
    finally:
        if native is not None:
            native.__exit__(None, None, None)
    return tally


def _judge(
    kind: str,
    messages: list[bytes],
    peers: Peers,
    python: PythonReaders,
    native: NativeReaders | None,
    tally: Tally,
    seed: int,
) -> None:
    verdicts: list[tuple[str, Iterator[tuple[bool | None, bool | Exception]]]] = []
    reader: Reader = {"request": python.request, "command": python.command, "reply": python.reply}.get(
        kind, python.sample
    )
    expected = [_expected(kind, data, peers) for data in messages]
    for good in expected:
        if good is not None:
            (tally.good if good else tally.violating)[kind] += 1
    verdicts.append(("Python", zip(expected, (_ask(reader, data, peers) for data in messages), strict=True)))
    if native is not None and kind in NativeReaders.KINDS:
        # A state's reader in C++ knows nothing of raw observations.
        strict = [is_state(data, peers) for data in messages] if kind == "state" else expected
        try:
            answers = native.accept(kind, messages, peers)
        except RuntimeError as error:
            tally.find(str(error), kind, b"".join(messages), peers, seed)
            return
        verdicts.append(("C++", zip(strict, answers, strict=True)))
    for name, pairs in verdicts:
        for data, (good, answer) in zip(messages, pairs, strict=True):
            if isinstance(answer, Exception):
                text = "".join(traceback.format_exception_only(answer)).strip()
                tally.find(f"{name} raised {text}", kind, data, peers, seed)
            elif good is not None:
                tally.readings[name] += not good
                tally.accepted += answer and not good
                if answer != good:
                    what = "accepts what violates the contract" if answer else "refuses a good message"
                    tally.find(f"{name} {what}", kind, data, peers, seed)


def _ask(reader: Reader, data: bytes, peers: Peers) -> bool | Exception:
    try:
        return reader(data, peers)
    except Exception as error:
        return error


def _expected(kind: str, data: bytes, peers: Peers) -> bool | None:
    """Whether it is good; None where the contract leaves it open."""
    if kind in ("state", "raw_observation"):
        return is_state(data, peers) or is_raw_observation(data, peers)
    if kind == "reply":
        return is_reply(data)
    return is_command(data, peers) if kind == "command" else is_request(data, peers)
