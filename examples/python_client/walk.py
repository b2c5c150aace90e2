"""Walks the simulated robot with a gaitd on this machine: walk.py RUNTIME_DIR SECONDS."""

import argparse
import sys
import time
from pathlib import Path

from gaitd.errors import GaitdError
from gaitd.wire.generated import Mode, Reason
from gaitforge.client import Client, Period, Sample
from gaitforge.simulate.pacer import Pacer
from gaitforge.simulate.robot import STAND_UP_S, MotorCommand, Robot, stand_up_command

PATIENCE_S = 15.0
"""So long it stands and asks again for a session that gaitd refuses: its worker may not be ready yet."""
SIT_DOWN_S = 3.0
"""After damping the states go on so long: a recording shows how it sat down."""


def walk(client, robot, seconds):
    """Stand up, activate, walk ahead; ends soon after gaitd damps."""
    pacer, start = Pacer(), robot.read().joint_position
    contract = client.hello()
    period = Period(contract.period_s)

    def tick(velocity_command):
        now_ns = time.monotonic_ns()
        if period.due(now_ns):
            now = robot.read()
            sensors = {"orientation": now.orientation, "angular_velocity": now.angular_velocity}
            sensors |= {"linear_acceleration": now.linear_acceleration, "joint_torque": now.joint_torque}
            joints = {"joint_position": now.joint_position, "joint_velocity": now.joint_velocity}
            client.publish(Sample(**joints, **sensors, velocity_command=velocity_command, stamp_ns=now_ns))
        robot.step()
        pacer.wait()  # one millisecond

    while robot.time_s < STAND_UP_S:
        robot.command = stand_up_command(start, robot.time_s, contract.default_joint_position)
        tick((0, 0, 0))
    asks_s = robot.time_s
    while not client.session:
        try:
            client.activate()
        except GaitdError as refusal:
            if robot.time_s > STAND_UP_S + PATIENCE_S:
                raise
            if robot.time_s == asks_s:
                print(f"refused: {refusal}; asking again", file=sys.stderr)
            for _ in range(500):
                tick((0, 0, 0))
    began_s = heard_s = robot.time_s
    damped_s = None
    while robot.time_s < began_s + seconds or damped_s is not None:
        order = client.command()
        motors = (order.stiffness, order.joint_position, order.damping, order.joint_velocity, order.torque)
        robot.command = MotorCommand(*motors)
        if order.reason is not Reason.CLIENT_DEADLINE:
            heard_s = robot.time_s
        if order.mode is Mode.DAMPING and heard_s == robot.time_s:
            damped_s = robot.time_s if damped_s is None else damped_s
            if robot.time_s > damped_s + SIT_DOWN_S:
                sys.exit(
                    f"damping: {order.reason.name.lower()}; if gaitd has a recorder, gaitctl explain says why"
                )
        if robot.time_s - heard_s > 1.0:
            sys.exit("no command of gaitd's for a second: it has ended, or stands still")
        tick((1, 0, 0))
    print(f"{order.mode.name.lower()}, {robot.data.qpos[0]:.1f} m from where it stood up")
    client.release()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("runtime_dir", type=Path, help="that gaitd run was given")
parser.add_argument("seconds", type=float)
options = parser.parse_args()
robot = Robot()
try:
    with Client(robot.body.joints, options.runtime_dir) as client:
        walk(client, robot, options.seconds)
except GaitdError as error:
    sys.exit(f"walk.py: {error}")
