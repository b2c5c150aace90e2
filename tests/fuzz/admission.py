"""Well-formed states that only their content or their place in the stream makes wrong, against admission.

The judge here is written from the columns "refused" in proto/README.md; it remembers the stream on its own.
"""

from __future__ import annotations

import itertools
import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fuzz.oracle import Peers
from gaitd.policy.admission import AdmissionLimits, StateAdmission
from gaitd.policy.manifest import Manifest
from gaitd.wire.codec import decode_either, encode_state
from gaitd.wire.messages import RawObservation, RobotState
from support.proto import encode_raw_observation

if TYPE_CHECKING:
    from fuzz.campaign import Tally

MILLISECOND = 1_000_000
OBSERVATION_DIM = 18
SESSION_LENGTH = 400
TOO_LARGE = (math.nan, math.inf, -math.inf, 1e30, -1e30, 3.4e38, 1e3, -1e3)
FLOAT32_MAX = 3.4028234663852886e38
ANYWHERE = (-FLOAT32_MAX, FLOAT32_MAX)
"""A wheel may have turned as far as it likes."""
Values = list[float]


@dataclass
class Sample:
    """What a controller publishes, in plain numbers; a raw observation has an ``observation``."""

    session: int
    seq: int
    stamp_ns: int
    now_ns: int
    """When gaitd looks at it."""
    orientation: Values
    position: Values
    velocity: Values
    command: Values
    others: Values
    """Angular velocity, linear acceleration, linear velocity, and the joints' torques."""
    observation: Values = field(default_factory=list)
    inputs: list[Values] = field(default_factory=list)
    """The named ones, which need not change."""

    def content(self) -> bytes:
        """What a living sensor changes, bit for bit."""
        values = [*self.position, *self.velocity]
        if not self.observation:
            values += [*self.orientation, *self.others]
        return struct.pack(f"{len(values)}f", *values)


@dataclass
class Rules:
    """The bounds of one policy's states."""

    period_ns: int
    position: list[tuple[float, float]]
    """Of a wheel, whatever is finite."""
    velocity: float
    input_sizes: tuple[int, ...] = ()


@dataclass
class Judge:
    """Says which state of a session violates the contract."""

    rules: Rules
    session: int
    last: Sample | None = None
    taken_ns: list[int] = field(default_factory=list)

    def refuses(self, sample: Sample) -> bool:
        """Whether it must not be taken; what may be is remembered."""
        if self._misplaced(sample) or self._impossible(sample):
            return True
        frozen = self.last is not None and sample.content() == self.last.content()
        self.last = sample
        self.taken_ns.append(sample.stamp_ns)
        return frozen or sample.now_ns - sample.stamp_ns > 2 * self.rules.period_ns

    def _misplaced(self, sample: Sample) -> bool:
        last_seq = self.last.seq if self.last else 0
        return (
            sample.session != self.session
            or sample.seq <= last_seq
            or sample.seq - last_seq > math.ceil(1e9 / self.rules.period_ns)
            or sample.stamp_ns > sample.now_ns + MILLISECOND
            or self._too_fast(sample)
        )

    def _too_fast(self, sample: Sample) -> bool:
        """Any two states are 0.6 periods apart, and a period over 1.1 for each further one between them."""
        spacing, interval = math.floor(0.6 * self.rules.period_ns), math.floor(self.rules.period_ns / 1.1)
        return any(
            sample.stamp_ns - taken_ns < spacing + between * interval
            for between, taken_ns in enumerate(reversed(self.taken_ns))
        )

    def _impossible(self, sample: Sample) -> bool:
        joints = zip(sample.position, self.rules.position, strict=True)
        if not all(low <= value <= high for value, (low, high) in joints):
            return True
        if not all(abs(value) <= self.rules.velocity for value in sample.velocity):
            return True
        if sample.observation:
            return not all(map(math.isfinite, sample.observation))
        norm = sum(value * value for value in sample.orientation)
        others = [*sample.others, *sample.command, *itertools.chain(*sample.inputs)]
        return not (0.9 < norm < 1.1 and all(map(math.isfinite, others)))


class AdmissionRun:
    """A controller that is wrong most of the time, session after session."""

    def __init__(self, manifest: Manifest, rng: random.Random) -> None:
        """The manifest's limits must be lists or one number, as those of the tests' bundle are."""
        limits = manifest.limits
        low, high = limits.position.min_rad, limits.position.max_rad
        state = limits.state
        if not isinstance(low, list) or not isinstance(high, list) or state is None:
            raise TypeError("the bundle's position limits must be lists, and it must limit the state")
        if not isinstance(state.max_velocity_rad_per_s, float):
            raise TypeError("the bundle's velocity limit must be one number")
        margin, wheels = state.position_margin_rad, manifest.continuous_joints
        ranges = iter([(a - margin, b + margin) for a, b in zip(low, high, strict=True)])
        self._rules = Rules(
            manifest.period_ns,
            [ANYWHERE if joint in wheels else next(ranges) for joint in manifest.joints],
            state.max_velocity_rad_per_s,
            manifest.input_sizes,
        )
        self._rng = rng
        self._admission = StateAdmission(manifest, AdmissionLimits.for_period(self._rules.period_ns))
        self._session = 0
        self._begin()

    def judge(self, count: int, tally: Tally, seed: int) -> None:
        """So many more states, counted as kind ``admission``."""
        for _ in range(count):
            if self._left == 0:
                self._begin()
            self._left -= 1
            sample, change = self._next()
            data = _encode(sample)
            must_refuse = self._judge.refuses(sample)
            refused = self._refused(data, sample.now_ns)
            (tally.violating if must_refuse else tally.good)["admission"] += 1
            tally.readings["admission"] += must_refuse
            tally.accepted += must_refuse and not refused
            if refused != must_refuse:
                what = "refuses a good state" if refused else "takes a state that violates the contract"
                peers = Peers(len(sample.position), OBSERVATION_DIM)
                tally.find(f"admission {what} ({change}, {sample})", "admission", data, peers, seed)
                return

    def _begin(self) -> None:
        self._session += 1
        self._left = SESSION_LENGTH
        self._raw = self._rng.random() < 0.3
        self._now_ns = 10**12
        self._admission.start(self._session)
        self._judge = Judge(self._rules, self._session)
        self._sample = self._fresh()

    def _fresh(self) -> Sample:
        """The state that should come next."""
        rng, last = self._rng, self._judge.last
        self._now_ns += self._rules.period_ns
        quaternion = [rng.gauss(0, 1) for _ in range(4)]
        length = math.sqrt(sum(value * value for value in quaternion)) or 1.0
        joints = len(self._rules.position)
        return Sample(
            session=self._session,
            seq=last.seq + 1 if last else 1,
            stamp_ns=self._now_ns - MILLISECOND,
            now_ns=self._now_ns,
            orientation=_f32([value / length for value in quaternion]),
            position=_f32([_somewhere(rng, *bounds) for bounds in self._rules.position]),
            velocity=_f32([rng.uniform(-49, 49) for _ in range(joints)]),
            command=_f32([rng.uniform(-2, 2) for _ in range(3)]),
            others=_f32([rng.gauss(0, 10) for _ in range(9 + joints)]),
            observation=_f32([rng.gauss(0, 1) for _ in range(OBSERVATION_DIM)]) if self._raw else [],
            inputs=[]
            if self._raw
            else [_f32([rng.gauss(0, 1) for _ in range(k)]) for k in self._rules.input_sizes],
        )

    def _next(self) -> tuple[Sample, str]:
        sample = self._fresh()
        if self._rng.random() < 0.1:
            return sample, "nothing"
        change = self._rng.choice(CHANGES)
        change(self._rng, sample, self._judge.last, self._rules)
        return sample, change.__name__

    def _refused(self, data: bytes, now_ns: int) -> bool:
        message = decode_either(data, OBSERVATION_DIM, len(self._rules.position), self._rules.input_sizes)
        cause = self._admission.admit(message, now_ns) or self._admission.too_old(message.stamp_ns, now_ns)
        return cause is not None


Change = Callable[[random.Random, Sample, "Sample | None", Rules], None]


def _foreign(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    sample.session = rng.choice((0, sample.session - 1, sample.session + 1, 2**64 - 1))


def _replayed(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    sample.seq = rng.choice((0, max(0, sample.seq - 1), max(0, sample.seq - 2), rng.randrange(sample.seq)))


def _jumped(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    sample.seq += rng.choice((1, 82, 83, 84, 85, 1000, 2**63))
    sample.seq %= 2**64


def _stamped(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    period = rules.period_ns
    exact = [sample.now_ns + MILLISECOND + step for step in (0, 1)]
    exact += [sample.now_ns - 2 * period + step for step in (-1, 0, 1)]
    if last is not None:
        exact += [last.stamp_ns + round(0.6 * period) + step for step in (-1, 0, 1)] + [last.stamp_ns]
    sample.stamp_ns = rng.choice((*exact, 0, 2**64 - 1, sample.now_ns - 10**9, sample.now_ns + 10**9))


def _early(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    if last is not None:
        sample.stamp_ns = last.stamp_ns + rng.randrange(rules.period_ns)


def _frozen(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    if last is not None:
        sample.orientation, sample.position = last.orientation, last.position
        sample.velocity, sample.others = last.velocity, last.others


def _not_unit(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    factor = rng.choice((0.0, 0.5, 0.9, 0.96, 1.04, 1.06, 1.5, 1e19, -1.0))
    sample.orientation = _f32([value * factor for value in sample.orientation])


def _one_value(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    lists = [sample.position, sample.velocity]
    if sample.observation:
        lists.append(sample.observation)
    else:
        lists += [sample.orientation, sample.command, sample.others, *sample.inputs]
    values = rng.choice(lists)
    values[rng.randrange(len(values))] = _f32([rng.choice(TOO_LARGE)])[0]


def _inputs_anything(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    """Far outside their ranges: they are clipped."""
    sample.inputs = [_f32([rng.uniform(-1e6, 1e6) for _ in values]) for values in sample.inputs]


def _beyond(rng: random.Random, sample: Sample, last: Sample | None, rules: Rules) -> None:
    index = rng.randrange(len(sample.position))
    low, high = rules.position[index]
    aside = rng.choice((-0.1, -1e-3, 1e-3, 0.1, 3.0))
    if rng.random() < 0.5:
        sample.position[index] = _f32([rng.choice((high + aside, low - aside))])[0]
    else:
        sample.velocity[index] = _f32([rng.choice((-1, 1)) * (rules.velocity + aside)])[0]


CHANGES: list[Change] = [
    *(_foreign, _replayed, _jumped, _stamped, _early, _frozen, _not_unit, _one_value, _one_value, _beyond),
    _inputs_anything,
]


def _somewhere(rng: random.Random, low: float, high: float) -> float:
    return rng.uniform(low * 0.99, high * 0.99) if high < FLOAT32_MAX else rng.gauss(0, 1e3)


def _f32(values: Values) -> Values:
    """As they arrive."""
    return list(struct.unpack(f"{len(values)}f", struct.pack(f"{len(values)}f", *values)))


def _encode(sample: Sample) -> bytes:
    def array(values: Values) -> np.ndarray:
        return np.array(values, np.float32)

    header = (sample.session, sample.seq, sample.stamp_ns)
    position, velocity = array(sample.position), array(sample.velocity)
    if sample.observation:
        return encode_raw_observation(RawObservation(*header, array(sample.observation), position, velocity))
    gyro, accelerometer, speed = (array(sample.others[at : at + 3]) for at in (0, 3, 6))
    return encode_state(
        RobotState(
            *header,
            gyro,
            array(sample.orientation),
            accelerometer,
            speed,
            array(sample.command),
            position,
            velocity,
            array(sample.others[9:]),
            tuple(array(values) for values in sample.inputs),
        )
    )
