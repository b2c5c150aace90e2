"""The UDP layout, byte by byte, over real sockets."""

import socket
import struct

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitforge.simulate.robot import Robot, RobotReading
from gaitforge.simulate.udp import Ports, RobotSocket, pack_state

READING = RobotReading(
    time_s=1.2345678901,
    orientation=np.array((1.0, 0.0, 0.0, 0.0)),
    roll_pitch_yaw=np.array((0.1, 0.2, 0.3), np.float32),
    linear_acceleration=np.array((1.0, 2.0, 3.0)),
    angular_velocity=np.array((4.0, 5.0, 6.0)),
    linear_velocity=np.array((-1.0, -1.0, -1.0)),
    joint_position=np.arange(100.0, 112.0),
    joint_velocity=np.arange(200.0, 212.0),
    joint_torque=np.arange(300.0, 312.0),
)


class Peer:
    """A controller's sockets, and the robot's end of the wire."""

    def __init__(self) -> None:
        self.state, self.operator, self.sender = (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)
        )
        for each in (self.state, self.operator):
            each.bind(("127.0.0.1", 0))
            each.settimeout(5.0)
        ports = Ports(self.state.getsockname()[1], 0, self.operator.getsockname()[1])
        self.wire = RobotSocket(ports)
        self.sender.connect(("127.0.0.1", self.wire.command_port))

    def close(self) -> None:
        for each in (self.state, self.operator, self.sender, self.wire):
            each.close()


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


def command_packet(value: float) -> bytes:
    return struct.pack("60f", *(value + index for index in range(60)))


def test_a_state_is_188_bytes_in_order(peer):
    peer.wire.send_state(READING)
    packet = peer.state.recv(1024)
    expected = struct.pack(
        "=d3f3f3f12f12f12f",
        1.2345678901,
        *(0.1, 0.2, 0.3),
        *(1.0, 2.0, 3.0),
        *(4.0, 5.0, 6.0),
        *range(100, 112),
        *range(200, 212),
        *range(300, 312),
    )
    assert len(packet) == 188
    assert packet == expected


def test_a_real_reading_packs():
    assert len(pack_state(Robot().read())) == 188


def test_a_command_is_kp_position_kd_velocity_torque(peer):
    peer.sender.send(command_packet(0.0))
    command = peer.wire.newest_command()
    assert command is not None
    np.testing.assert_array_equal(command.stiffness, range(12))
    np.testing.assert_array_equal(command.position, range(12, 24))
    np.testing.assert_array_equal(command.damping, range(24, 36))
    np.testing.assert_array_equal(command.velocity, range(36, 48))
    np.testing.assert_array_equal(command.torque, range(48, 60))


def test_the_newest_command_wins_and_nothing_queues(peer):
    for value in range(20):
        peer.sender.send(command_packet(float(value)))
    command = peer.wire.newest_command()
    assert command is not None
    assert command.stiffness[0] == 19.0
    assert peer.wire.received == 20
    assert peer.wire.newest_command() is None


def test_malformed_packets_are_counted_and_change_nothing(peer):
    good = command_packet(7.0)
    bad = (b"", b"junk", good[:-1], good + b"x", struct.pack("60f", *([float("nan")] + [0.0] * 59)))
    peer.sender.send(good)
    for packet in bad:
        peer.sender.send(packet)
    command = peer.wire.newest_command()
    assert command is not None
    assert command.stiffness[0] == 7.0
    assert peer.wire.malformed == len(bad)
    assert peer.wire.received == 1


def test_the_velocity_command_goes_to_the_operator_port(peer):
    peer.wire.send_velocity_command(np.array((1.0, -0.5, 0.25), np.float32))
    assert peer.operator.recv(64) == struct.pack("3f", 1.0, -0.5, 0.25)


def test_a_missing_listener_is_not_an_error(peer):
    peer.state.close()
    for _ in range(3):
        peer.wire.send_state(READING)


def test_a_taken_port_is_named(peer):
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{peer.wire.command_port}.*--command-port"):
        RobotSocket(Ports(command=peer.wire.command_port))


def test_only_the_loopback_is_listened_on(peer):
    assert peer.wire._socket.getsockname()[0] == "127.0.0.1"
