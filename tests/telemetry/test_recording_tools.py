"""A recording opens in tools for ROS 2: two libraries that share no code with gaitd read every message."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.shared.events import Event, EventKind
from gaitd.shared.frame_ring import message_of
from gaitd.shared.step_ring import StepTimes
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.telemetry import channels
from gaitd.telemetry.recording import MachineSample, Recording, RecordingInfo, read_recording, write_recording
from gaitd.wire.causes import Cause
from gaitd.wire.codec import encode_state
from gaitd.wire.generated import CauseKind, Mode, Reason
from gaitd.wire.messages import RobotState

JOINTS = ["hip", "thigh", "knee"]
ORDER = (2, 0, 1)
"""The controller's own is thigh, knee, hip."""
SESSION, DIM, OFFSET_NS = 2**60 + 7, 5, 1_700_000_000_000_000_000


def state(seq: int, session: int = SESSION) -> RobotState:
    def values(size: int, first: float) -> np.ndarray:
        return (first + np.arange(size) + seq / 1000).astype(np.float32)

    return RobotState(
        session=session,
        seq=seq,
        stamp_ns=seq * 12_000_000,
        angular_velocity=values(3, 0.25),
        orientation=np.array([0.5, 0.5, -0.5, 0.5], np.float32),
        linear_acceleration=values(3, 9),
        linear_velocity=values(3, 70) if seq % 2 else None,
        velocity_command=np.array([0.5, -0.25, 1], np.float32),
        joint_position=values(3, 10),
        joint_velocity=values(3, 20),
        joint_torque=values(3, 30),
    )


def recording(steps: int = 40) -> Recording:
    """As gaitd's processes leave it in their memory, one state malformed, one step withheld."""
    memory = WorkerMemory(WorkerMemory.create(3, DIM).fd, writable=True)
    for seq in range(1, steps + 1):
        now_ns, sent = seq * 12_000_000, state(seq)
        data = b"junk" if seq == 5 else encode_state(sent)
        memory.frames.add([(data, now_ns + 300_000)], now_ns + 310_000, 1)
        outputs = [np.full(3, value + seq, np.float32) for value in (1, 2, 3)]
        body = (sent.angular_velocity, sent.orientation, sent.linear_acceleration, sent.velocity_command)
        joints = [
            values[list(ORDER)] for values in (sent.joint_position, sent.joint_velocity, sent.joint_torque)
        ]
        observation = np.arange(DIM, dtype=np.float32) * seq
        times = StepTimes(
            SESSION, 1, seq, now_ns, now_ns + 300_000, now_ns + 400_000, now_ns + 900_000, now_ns
        )
        memory.steps.compose(times, (*body, *joints, *outputs, observation))
        memory.steps.stage()
        if seq == 7:
            memory.steps.settle()
        else:
            memory.steps.mark_sent(now_ns + 1_000_000)
    end_ns = (steps + 1) * 12_000_000
    memory.frames.add([(encode_state(state(steps + 1, 0)), end_ns)], 0, 0)
    refusal = Cause(CauseKind.OUT_OF_RANGE, 2, 2.5, 1.25)
    events = [
        Event(
            at_ns=1, kind=EventKind.MODE, session=SESSION, epoch=1, code=Mode.ACTIVE, order=ORDER, name="dog"
        ),
        Event(at_ns=2, kind=EventKind.LOG, code=logging.WARNING, text='LATE COMMANDS detail="ünlike"'),
        Event(
            at_ns=end_ns, kind=EventKind.REFUSAL, session=SESSION, epoch=1, seq=9, cause=refusal, text="why"
        ),
        Event(
            at_ns=end_ns,
            kind=EventKind.MODE,
            session=SESSION,
            epoch=1,
            code=Mode.DAMPING,
            reason=Reason.STATE_INVALID,
            cause=refusal,
            text="no command for 60 ms",
        ),
    ]
    info = RecordingInfo(
        policy_id="00",
        policy="small 1",
        bundle="small",
        period_s=0.012,
        joints=JOINTS,
        cause="state_invalid",
        clock_offset_ns=OFFSET_NS,
        deadline_s=0.06,
        observation_dim=DIM,
    )
    return Recording(
        info=info,
        records=memory.steps.read_since(0)[0],
        frames=memory.frames.read_since(0)[0],
        events=events,
        machine=[MachineSample(12_000_000, {"npu_frequency_hertz": 1e9})],
        counters={"received": 41},
        manifest=b"name: small\n",
    )


def written(path: Path, content: Recording) -> Path:
    with path.open("wb") as stream:
        write_recording(stream, content)
    return path


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    content = recording()
    back = read_recording(written(tmp_path / "r.mcap", content))
    assert back.whole
    assert (back.info, back.events, back.machine) == (content.info, content.events, content.machine)
    assert (back.counters, back.manifest) == (content.counters, content.manifest)
    for name in back.records.dtype.names or ():
        np.testing.assert_array_equal(back.records[name], content.records[name])
    for name in ("received_ns", "step_ns", "epoch", "length"):
        np.testing.assert_array_equal(back.frames[name], content.frames[name])
    assert back.frames["data"].tobytes() == content.frames["data"].tobytes()


def test_a_cut_file_is_read_up_to_its_last_whole_chunk(tmp_path: Path) -> None:
    content = recording(1500)
    path = written(tmp_path / "r.mcap", content)
    data = path.read_bytes()
    counts = set()
    for size in [*range(20_000, len(data), len(data) // 11), len(data) - 9]:
        path.write_bytes(data[:size])
        part = read_recording(path)
        assert not part.whole
        counts.add(len(part.records))
        np.testing.assert_array_equal(part.records["seq"], content.records["seq"][: len(part.records)])
    assert max(counts) == 1500
    assert len(counts) > 4


@pytest.mark.parametrize("place", [0.5, 0.05])
def test_a_damaged_chunk_costs_what_is_in_it(tmp_path: Path, place: float) -> None:
    """Also the first one, which says what the channels are: so does the end of the file."""
    path = written(tmp_path / "r.mcap", recording(1500))
    damaged = bytearray(path.read_bytes())
    damaged[round(len(damaged) * place)] ^= 1
    path.write_bytes(damaged)
    part = read_recording(path)
    assert (part.damaged, part.is_cut, part.whole) == (1, False, False)
    assert part.lack == "the file is not whole: 1 damaged parts of it are left out"
    assert 1000 < len(part.records) < 1500
    assert int(part.records["seq"][-1]) == 1500


def test_a_file_with_less_room_for_messages_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As gaitd wrote it before the contract's longest message grew."""
    content = recording()
    small = replace(content, frames=narrow(content.frames, int(content.frames["length"].max())))
    with monkeypatch.context() as patch:
        patch.setattr(channels, "frame_record_dtype", lambda *_: small.frames.dtype)
        path = written(tmp_path / "r.mcap", small)
    back = read_recording(path)
    assert back.frames.dtype == content.frames.dtype
    assert [message_of(frame) for frame in back.frames] == [message_of(frame) for frame in content.frames]


def narrow(frames: np.ndarray, room: int) -> np.ndarray:
    kinds = [(name, frames.dtype[name]) for name in frames.dtype.names or () if name != "data"]
    narrower = np.zeros(len(frames), [*kinds, ("data", "u1", (room,))])
    for name, _ in kinds:
        narrower[name] = frames[name]
    narrower["data"] = frames["data"][:, :room]
    return narrower


def decoded_by_mcap_ros2(path: Path) -> dict[str, list[tuple[int, Any]]]:
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    found: dict[str, list[tuple[int, Any]]] = {}
    with path.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, message, decoded in reader.iter_decoded_messages():
            found.setdefault(channel.topic, []).append((message.log_time, decoded))
    return found


def decoded_by_rosbags(path: Path) -> dict[str, list[tuple[int, Any]]]:
    from rosbags.highlevel import AnyReader

    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([path]) as reader:
        for connection, at_ns, data in reader.messages():
            found.setdefault(connection.topic, []).append(
                (at_ns, reader.deserialize(data, connection.msgtype))
            )
    return found


@pytest.mark.parametrize("decoded", [decoded_by_mcap_ros2, decoded_by_rosbags])
def test_tools_for_ros_2_read_every_channel(tmp_path: Path, decoded: Any) -> None:
    found = decoded(written(tmp_path / "r.mcap", recording()))
    assert {topic: len(messages) for topic, messages in found.items()} == {
        "/joint_states": 40,
        "/imu": 40,
        "/cmd_vel": 40,
        "/base_velocity": 20,
        "/joint_commands": 40,
        "/gaitd/timing": 40,
        "/gaitd/step": 40,
        "/gaitd/message": 41,
        "/diagnostics": 4,
        "/rosout": 1,
    }
    third = state(3)
    at_ns, joints = found["/joint_states"][2]
    assert at_ns == OFFSET_NS + 36_300_000
    assert (joints.header.stamp.sec, joints.header.stamp.nanosec) == (1_700_000_000, 36_000_000)
    assert list(joints.name) == JOINTS
    for name, values in (
        ("position", third.joint_position),
        ("velocity", third.joint_velocity),
        ("effort", third.joint_torque),
    ):
        np.testing.assert_array_equal(getattr(joints, name), values[list(ORDER)].astype(np.float64))
    imu = found["/imu"][2][1]
    quaternion = imu.orientation
    assert (quaternion.w, quaternion.x, quaternion.y, quaternion.z) == (0.5, 0.5, -0.5, 0.5)
    assert imu.linear_acceleration.z == third.linear_acceleration[2]
    twist = found["/cmd_vel"][0][1]
    assert (twist.linear.x, twist.linear.y, twist.angular.z) == (0.5, -0.25, 1.0)
    np.testing.assert_array_equal(found["/joint_commands"][2][1].position, [5, 5, 5])
    timing = found["/gaitd/timing"][2][1]
    assert (timing.age_ms, timing.transport_ms, timing.inference_ms) == (1.0, 0.3, 0.5)
    assert timing.interval_ms == 12.0
    assert math.isnan(found["/gaitd/timing"][6][1].age_ms), "it was withheld"
    assert found["/gaitd/step"][2][1].session == SESSION
    statuses = [status for _, array in found["/diagnostics"] for status in array.status]
    assert statuses[-1].message == "damping, state_invalid: no command for 60 ms"
    assert "knee" in statuses[-2].message
    assert found["/rosout"][0][1].msg == 'LATE COMMANDS detail="ünlike"'
