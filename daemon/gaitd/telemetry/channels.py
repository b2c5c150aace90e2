"""What the processes left in their memory, as the messages of a recording: one channel a subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gaitd.shared.events import Event, EventKind
from gaitd.shared.frame_ring import frame_record_dtype, message_of
from gaitd.shared.step_ring import PADDING, step_record_dtype
from gaitd.telemetry.cdr import Layout
from gaitd.telemetry.event_messages import diagnostic_of, log_line_of
from gaitd.telemetry.schemas import schema
from gaitd.wire.codec import decode_either
from gaitd.wire.frame import WireError
from gaitd.wire.messages import RobotState

STEP, FRAME, DIAGNOSTICS, LOG = "/gaitd/step", "/gaitd/message", "/diagnostics", "/rosout"
"""What a reader of ours needs; the other channels say the same for other tools."""
STATES, COMMANDS = "/joint_states", "/joint_commands"
IMU, VELOCITY_COMMAND, VELOCITY, TIMING = "/imu", "/cmd_vel", "/base_velocity", "/gaitd/timing"
_BASE_FRAME = "base"

Records = npt.NDArray[Any]


class Message(NamedTuple):
    """One message of a channel."""

    log_ns: int
    """Unix time."""
    topic: str
    sequence: int
    data: bytes


class Channel(NamedTuple):
    """What a recording says of one channel."""

    schema_name: str
    schema: str


class Orders:
    """Whose joints a controller's messages hold in which order, by session."""

    def __init__(self) -> None:
        self._by_session: dict[int, Sequence[int]] = {}
        self._latest: Sequence[int] | None = None

    def learn(self, events: Iterable[Event]) -> None:
        """Take what the guardian said when sessions began."""
        for event in events:
            if event.order:
                self._by_session[event.session] = self._latest = event.order

    def of(self, session: int) -> Sequence[int] | None:
        """values_of_controller[order] is in the policy's order; None before any session."""
        return self._by_session.get(session, self._latest)


class Channels:
    """Turns records into messages, many at a time. Times become Unix time."""

    def __init__(self, joints: Sequence[str], observation_dim: int, clock_offset_ns: int) -> None:
        """``joints``: in the policy's order, which is that of all joint arrays but the raw messages'."""
        self._joint_count, self._observation_dim = len(joints), observation_dim
        self._offset_ns = clock_offset_ns
        self._last_sent = (0, 0)
        self.step = _step_layout(recorded_dtype(len(joints), observation_dim))
        (room,) = frame_record_dtype(len(joints), observation_dim)["data"].shape
        self.frame = _frame_layout(room)
        self._states = _joint_layout(joints, ("position", "velocity", "effort"))
        self._states_without_effort = _joint_layout(joints, ("position", "velocity"))
        self._commands = _joint_layout(joints, ("position",))

    def describe(self) -> Mapping[str, Channel]:
        """Every channel, by its topic."""
        standard = {
            STATES: "sensor_msgs/JointState",
            COMMANDS: "sensor_msgs/JointState",
            IMU: "sensor_msgs/Imu",
            VELOCITY_COMMAND: "geometry_msgs/Twist",
            VELOCITY: "geometry_msgs/Twist",
            TIMING: "gaitd_msgs/Timing",
            FRAME: "gaitd_msgs/Frame",
            DIAGNOSTICS: "diagnostic_msgs/DiagnosticArray",
            LOG: "rcl_interfaces/Log",
        }
        channels = {topic: Channel(_full_name(name), schema(name)) for topic, name in standard.items()}
        dtype = recorded_dtype(self._joint_count, self._observation_dim)
        fields = "".join(f"{_kind_of(dtype[name])} {name}\n" for name in dtype.names or ())
        channels[STEP] = Channel("gaitd_msgs/msg/Step", fields)
        return channels

    def of_steps(self, records: Records) -> Iterator[Message]:
        """Steps: for ours to compute them again, and what others plot of them."""
        at_ns = step_times_ns(records)
        rows, data = self.step.rows(len(records))
        for name in self.step.dtype.names or ():
            rows[name] = records[name]
        yield from self._messages(STEP, at_ns, records["seq"], data)
        rows, data = self._commands.rows(len(records))
        self._stamp(rows, records["state_stamp_ns"])
        rows["position"] = records["target"]
        yield from self._messages(COMMANDS, at_ns, records["seq"], data)
        yield from self._messages(TIMING, at_ns, records["seq"], self._timing(records))

    def of_frames(self, frames: Records, orders: Orders) -> Iterator[Message]:
        """Messages as they came, and what they say where they can be read."""
        rows, data = self.frame.rows(len(frames))
        for name in self.frame.dtype.names or ():
            rows[name] = frames[name]
        yield from self._messages(FRAME, frames["received_ns"], frames["index"], data)
        found: dict[str, list[tuple[int, RobotState]]] = {STATES: [], IMU: [], VELOCITY: []}
        raw: list[tuple[int, Any]] = []
        for record in frames:
            try:
                state = decode_either(message_of(record), self._observation_dim, self._joint_count)
            except WireError:
                continue
            order = orders.of(state.session)
            if order is None:
                continue
            state.joint_position = state.joint_position.take(order)
            state.joint_velocity = state.joint_velocity.take(order)
            if not isinstance(state, RobotState):
                raw.append((int(record["received_ns"]), state))
                continue
            state.joint_torque = state.joint_torque.take(order)
            found[STATES].append((int(record["received_ns"]), state))
            if state.linear_velocity is not None:
                found[VELOCITY].append((int(record["received_ns"]), state))
        states = found[STATES]
        yield from self._each(STATES, self._states, states, _fill_joints)
        yield from self._each(STATES, self._states_without_effort, raw, _fill_joints)
        yield from self._each(IMU, _IMU, states, _fill_imu)
        yield from self._each(VELOCITY_COMMAND, _TWIST, states, _fill_velocity_command)
        yield from self._each(VELOCITY, _TWIST, found[VELOCITY], _fill_velocity)

    def read_frames(self, messages: Sequence[bytes]) -> Records:
        """Of a FRAME channel, back (gaitd.shared.frame_ring); their indices are not in them.

        How much room a message has there is the file's own: the contract's longest has grown since some
        were written. Raises ValueError when they differ in length.
        """
        room = max(0, len(messages[0]) - _frame_layout(0).dtype.itemsize) if messages else 0
        read = _frame_layout(room).read(messages)
        frames = np.zeros(len(read), frame_record_dtype(self._joint_count, self._observation_dim))
        for name in ("received_ns", "step_ns", "epoch", "length"):
            frames[name] = read[name]
        room = min(room, frames["data"].shape[1])
        frames["data"][:, :room] = read["data"][:, :room]
        return frames

    def of_events(self, events: Iterable[Event], joints: Sequence[str]) -> Iterator[Message]:
        """Log lines as a log, everything else as diagnostics."""
        for index, event in enumerate(events):
            at_ns = event.at_ns + self._offset_ns
            if event.kind is EventKind.LOG:
                yield Message(at_ns, LOG, index, log_line_of(event, at_ns))
            else:
                yield Message(at_ns, DIAGNOSTICS, index, diagnostic_of(event, joints, at_ns))

    def _timing(self, records: Records) -> bytearray:
        rows, data = _TIMING.rows(len(records))
        self._stamp(rows, records["state_stamp_ns"])
        sent, stamp = records["sent_ns"].astype(np.int64), records["state_stamp_ns"].astype(np.int64)
        received, begun, ended = (
            records[name].astype(np.int64) for name in ("receive_ns", "infer_start_ns", "infer_end_ns")
        )
        left = sent != 0
        rows["age_ms"] = np.where(left, (sent - stamp) / 1e6, np.nan)
        rows["transport_ms"] = (received - stamp) / 1e6
        rows["waiting_ms"] = (begun - received) / 1e6
        rows["inference_ms"] = (ended - begun) / 1e6
        rows["answer_ms"] = np.where(left, (sent - ended) / 1e6, np.nan)
        rows["interval_ms"] = np.nan
        for index in np.flatnonzero(left).tolist():
            session, last = int(records["session"][index]), self._last_sent
            if last[0] == session:
                rows["interval_ms"][index] = (int(sent[index]) - last[1]) / 1e6
            self._last_sent = (session, int(sent[index]))
        return data

    def _each(
        self,
        topic: str,
        layout: Layout,
        states: Sequence[tuple[int, Any]],
        fill: Callable[[Records, Any], None],
    ) -> Iterator[Message]:
        if not states:
            return
        rows, data = layout.rows(len(states))
        if "sec" in (layout.dtype.names or ()):
            self._stamp(rows, np.array([state.stamp_ns for _, state in states], np.uint64))
        fill(rows, [state for _, state in states])
        received_ns = np.array([received for received, _ in states], np.uint64)
        yield from self._messages(topic, received_ns, [state.seq for _, state in states], data)

    def _stamp(self, rows: Records, at_ns: npt.NDArray[np.uint64]) -> None:
        unix_ns = at_ns.astype(np.int64) + self._offset_ns
        rows["sec"], rows["nanosec"] = unix_ns // 1_000_000_000, unix_ns % 1_000_000_000

    def _messages(
        self, topic: str, at_ns: npt.NDArray[np.uint64], sequences: Iterable[int], data: bytearray
    ) -> Iterator[Message]:
        size = len(data) // max(1, len(at_ns))
        view = memoryview(bytes(data))
        for index, (at, sequence) in enumerate(zip(at_ns.tolist(), sequences, strict=True)):
            part = bytes(view[index * size : (index + 1) * size])
            yield Message(at + self._offset_ns, topic, int(sequence) & 0xFFFFFFFF, part)


def step_times_ns(records: Records) -> npt.NDArray[np.uint64]:
    """The time of each step, CLOCK_MONOTONIC: when its command left, or else when its inference ended."""
    at_ns: npt.NDArray[np.uint64] = np.where(
        records["sent_ns"] != 0, records["sent_ns"], records["infer_end_ns"]
    )
    return at_ns


def recorded_dtype(joint_count: int, observation_dim: int = 0) -> np.dtype[Any]:
    """One recorded step: a step record without what belongs to its place in memory."""
    dtype = step_record_dtype(joint_count, observation_dim)
    return np.dtype([entry for entry in dtype.descr if entry[0] not in ("checksum", PADDING)])


def _step_layout(dtype: np.dtype[Any]) -> Layout:
    layout = Layout()
    for name in dtype.names or ():
        field = dtype[name]
        if field.shape:
            layout.numbers(name, field.base.str, field.shape[0])
        else:
            layout.number(name, field.base.str)
    return layout


def _frame_layout(room: int) -> Layout:
    """``room``: bytes of a message."""
    layout = Layout()
    for name in ("received_ns", "step_ns", "epoch", "length"):
        layout.number(name, "<u8")
    return layout.numbers("data", "u1", room)


def _stamped(layout: Layout) -> Layout:
    return layout.number("sec", "<i4").number("nanosec", "<u4")


def _joint_layout(joints: Sequence[str], filled: Sequence[str]) -> Layout:
    layout = _stamped(Layout()).text(_BASE_FRAME).texts(joints)
    for name in ("position", "velocity", "effort"):
        layout.numbers(name, "<f8", len(joints) if name in filled else 0)
    return layout


def _imu_layout() -> Layout:
    layout = _stamped(Layout()).text(_BASE_FRAME)
    for name, count in (("orientation", 4), ("angular_velocity", 3), ("linear_acceleration", 3)):
        layout.number(name, "<f8", (count,)).number(f"{name}_covariance", "<f8", (9,))
    return layout


_IMU = _imu_layout()
_TWIST = Layout().number("linear", "<f8", (3,)).number("angular", "<f8", (3,))
_TIMING = _stamped(Layout())
for _name in ("age_ms", "transport_ms", "waiting_ms", "inference_ms", "answer_ms", "interval_ms"):
    _TIMING.number(_name, "<f8")


def _fill_joints(rows: Records, states: Sequence[Any]) -> None:
    rows["position"] = np.stack([state.joint_position for state in states])
    rows["velocity"] = np.stack([state.joint_velocity for state in states])
    if rows["effort"].shape[1]:
        rows["effort"] = np.stack([state.joint_torque for state in states])


def _fill_imu(rows: Records, states: Sequence[RobotState]) -> None:
    rows["orientation"] = np.stack([state.orientation for state in states])[:, [1, 2, 3, 0]]
    rows["angular_velocity"] = np.stack([state.angular_velocity for state in states])
    rows["linear_acceleration"] = np.stack([state.linear_acceleration for state in states])


def _fill_velocity_command(rows: Records, states: Sequence[RobotState]) -> None:
    wanted = np.stack([state.velocity_command for state in states])
    rows["linear"][:, :2], rows["angular"][:, 2] = wanted[:, :2], wanted[:, 2]


def _fill_velocity(rows: Records, states: Sequence[RobotState]) -> None:
    rows["linear"] = np.stack([np.asarray(state.linear_velocity) for state in states])


def _kind_of(field: np.dtype[Any]) -> str:
    kind = "uint64" if field.base.kind == "u" else "float32"
    return f"{kind}[]" if field.shape else kind


def _full_name(name: str) -> str:
    package, _, message = name.partition("/")
    return f"{package}/msg/{message}"
