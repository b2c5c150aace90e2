"""The simulated robot's wire: the UDP layout of the maker's own simulator, on the loopback only.

For a robot of n joints; the Lite3 has 12. State, to the controller, 44 + 12 n bytes (188): the robot's time,
which never stands still, as one float64 [s]; then float32 roll, pitch, yaw [rad], linear acceleration
[m/s^2] (3), angular velocity [rad/s] (3), joint positions [rad] (n), velocities [rad/s] (n), torques [Nm]
(n). Command, from the controller, 20 n bytes (240) of float32: stiffness (n), positions (n), damping (n),
velocities (n), feed-forward torques (n). Operator, 12 bytes of float32: the velocity command forward, left,
turn left, for controllers that listen to it. Everything is in the byte order of this machine and in the
order of the body's joints.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitforge.simulate.model import JOINTS
from gaitforge.simulate.robot import MotorCommand, RobotReading

HOST = "127.0.0.1"
STATE_PORT = 30010
COMMAND_PORT = 20001
OPERATOR_PORT = 30012

_TIME = struct.Struct("d")
_JOINT_BYTES = 5 * 4
"""Of a command."""
_MOST_PACKETS_A_TICK = 256
"""Bound on what one tick reads, so that a flood cannot stop the simulation."""


@dataclass(frozen=True)
class Ports:
    """UDP ports on the loopback."""

    state: int = STATE_PORT
    """The controller listens here for states."""
    command: int = COMMAND_PORT
    """The simulator listens here for commands; 0 takes a free one."""
    operator: int = OPERATOR_PORT
    """The controller may listen here for velocity commands."""


def pack_state(reading: RobotReading) -> bytes:
    """Return the bytes of a state."""
    return (
        _TIME.pack(reading.time_s)
        + np.concatenate(
            (
                reading.roll_pitch_yaw,
                reading.linear_acceleration,
                reading.angular_velocity,
                reading.joint_position,
                reading.joint_velocity,
                reading.joint_torque,
            ),
            dtype=np.float32,
            casting="same_kind",
        ).tobytes()
    )


def unpack_command(packet: bytes, joints: int = len(JOINTS)) -> MotorCommand | None:
    """Return the command of a packet, or None when its length is wrong or a value is not finite."""
    if len(packet) != joints * _JOINT_BYTES:
        return None
    values = np.frombuffer(packet, np.float32).astype(np.float64)
    if not np.isfinite(values).all():
        return None
    return MotorCommand(*values.reshape(5, joints))


class RobotSocket:
    """The robot's end of the wire. Nothing here blocks."""

    def __init__(self, ports: Ports, joints: int = len(JOINTS)) -> None:
        """Raises InputError when the command port is not available."""
        self._joints = joints
        self.malformed = 0
        """Command packets that were ignored."""
        self.received = 0
        """Command packets that were well formed, also those overtaken by a newer one."""
        self._state_address = (HOST, ports.state)
        self._operator_address = (HOST, ports.operator)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind((HOST, ports.command))
        except OSError as error:
            self._socket.close()
            raise InputError(
                f"cannot listen on UDP {HOST}:{ports.command}: {error.strerror}; is another "
                "simulator running? --command-port takes another port"
            ) from error

    @property
    def command_port(self) -> int:
        """The port that commands are taken on."""
        return int(self._socket.getsockname()[1])

    def newest_command(self) -> MotorCommand | None:
        """Read everything that has arrived and return the newest well-formed command, None without one."""
        newest: MotorCommand | None = None
        for _ in range(_MOST_PACKETS_A_TICK):
            try:
                packet = self._socket.recv(self._joints * _JOINT_BYTES + 1)
            except BlockingIOError:
                break
            command = unpack_command(packet, self._joints)
            if command is None:
                self.malformed += 1
            else:
                self.received += 1
                newest = command
        return newest

    def send_state(self, reading: RobotReading) -> None:
        """Send a state to the controller, if there is one."""
        self._send(pack_state(reading), self._state_address)

    def send_velocity_command(self, command: npt.NDArray[np.float32]) -> None:
        """Send the operator's velocity command (3,) to the controller, if there is one."""
        self._send(command.astype(np.float32).tobytes(), self._operator_address)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, packet: bytes, address: tuple[str, int]) -> None:
        with contextlib.suppress(BlockingIOError):  # a full buffer loses the packet, as a real wire would
            self._socket.sendto(packet, address)
