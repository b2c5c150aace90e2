"""A simulated robot walked in step through the whole chain: C++ client, ZeroMQ, gaitd and back."""

from __future__ import annotations

import ctypes
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitd.bundle.read import open_bundle
from gaitd.wire.generated import Mode
from gaitforge.simulate.body import Body, from_mjcf
from gaitforge.simulate.robot import STAND_UP_S, MotorCommand, Robot, stand_up_command
from support.daemon import PATIENT, Gaitd

HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "proto" / "cpp" / "include"
ANSWER_MS = 400
"""A busy machine may take its time for an answer; the deadlines of PATIENT are as long."""


def build_client(directory: Path) -> ctypes.CDLL:
    """Compile it there."""
    library = directory / "chain_client.so"
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", "-DMSGPACK_NO_BOOST", f"-I{INCLUDE}"]
    source = str(HERE / "chain_client.cpp")
    subprocess.run(["c++", *flags, source, "-o", str(library), "-lzmq", "-lpthread"], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.chain_new.restype, loaded.chain_error.restype = ctypes.c_void_p, ctypes.c_char_p
    for name in ("chain_free", "chain_hello", "chain_activate", "chain_damp"):
        getattr(loaded, name).argtypes = [ctypes.c_void_p]
    loaded.chain_publish.argtypes = [ctypes.c_void_p] + [ctypes.c_void_p] * 5 + [ctypes.c_size_t]
    loaded.chain_command.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p]
    return loaded


class ChainClient:
    """The C++ client of one controller."""

    def __init__(
        self, library: ctypes.CDLL, directory: Path, joints: Sequence[str], inputs: Sequence[str] = ()
    ) -> None:
        self._library = library
        self._joints = len(joints)
        names = ["".join(f"{name}\n" for name in each).encode() for each in (joints, inputs)]
        self._client = library.chain_new(str(directory).encode(), *names)
        assert self._client, library.chain_error()
        self._seq = 0

    def close(self) -> None:
        self._library.chain_free(self._client)

    def hello(self) -> None:
        assert self._library.chain_hello(self._client) == 0, self._library.chain_error()

    def activate(self) -> None:
        assert self._library.chain_activate(self._client) == 0, self._library.chain_error()
        self._seq = 0

    def damp(self) -> None:
        self._library.chain_damp(self._client)

    def publish(self, robot: Robot, command: np.ndarray, inputs: np.ndarray) -> None:
        reading = robot.read()
        body = np.concatenate(
            (
                reading.angular_velocity,
                reading.orientation,
                reading.linear_acceleration,
                reading.linear_velocity,
                command,
            )
        )
        joints = reading.joint_position, reading.joint_velocity, reading.joint_torque
        rows = [np.ascontiguousarray(values, np.float32) for values in (body, *joints, inputs)]
        self._seq += 1
        assert self._library.chain_publish(
            self._client, *(values.ctypes.data for values in rows), len(rows[-1])
        )

    def command(self) -> tuple[Mode, MotorCommand]:
        rows = np.zeros((5, self._joints), np.float32)
        mode = Mode(self._library.chain_command(self._client, self._seq, ANSWER_MS, rows.ctypes.data))
        position, velocity, stiffness, damping, torque = rows.astype(np.float64)
        return mode, MotorCommand(stiffness, position, damping, velocity, torque)


@dataclass(frozen=True)
class Walk:
    """What came of a walk through the chain."""

    displacement_m: float
    """From where it was handed over, in the plane."""
    lowest_m: float
    """Of the base."""
    modes: list[Mode]
    """Of each command."""
    log: str
    """Of gaitd."""


def walk(
    library: ctypes.CDLL,
    bundle: Path,
    mjcf: Path,
    command: tuple[float, float, float],
    seconds: float,
    seed: int = 0,
    inputs: dict[str, list[float]] | None = None,
    body: Body | None = None,
) -> Walk:
    """Stand up, then walk for so long of simulated time, one state a control period."""
    manifest = open_bundle(bundle).manifest
    inputs = inputs or {}
    values = np.array([value for each in manifest.inputs for value in inputs[each.name]], np.float32)
    robot = Robot(seed, body or from_mjcf(mjcf, manifest))
    start = robot.read().joint_position
    for _ in range(round(STAND_UP_S / 0.001)):
        robot.command = stand_up_command(start, robot.time_s, None, robot.body)
        robot.step()
    robot.let_go()
    ticks, began = round(manifest.control_period_s * 1000), robot.data.qpos[:2].copy()
    lowest, modes = robot.height_m, list[Mode]()
    with Gaitd(bundle, config=PATIENT) as gaitd:
        gaitd.wait_ready()
        client = ChainClient(library, gaitd.runtime_dir, manifest.joints, list(inputs))
        try:
            client.hello()
            client.activate()
            for _ in range(round(seconds * 1000) // ticks):
                client.publish(robot, np.array(command), values)
                due_s = time.monotonic() + manifest.control_period_s  # a late state is not made up for
                mode, robot.command = client.command()
                modes.append(mode)
                robot.step(ticks)
                lowest = min(lowest, robot.height_m)
                time.sleep(max(0.0, due_s - time.monotonic()))
        finally:
            client.close()
            log = gaitd.log
    return Walk(float(np.hypot(*(robot.data.qpos[:2] - began))), lowest, modes, log)
