"""Walks the simulated robot with a gaitd on this machine: walk.py RUNTIME_DIR SECONDS."""

import sys
import time
from pathlib import Path

from gaitforge.client import Client, Period, Sample
from gaitforge.simulate.pacer import Pacer
from gaitforge.simulate.robot import STAND_UP_S, MotorCommand, Robot, stand_up_command

robot, pacer = Robot(), Pacer()
start = robot.read().joint_position
client = Client(robot.body.joints, Path(sys.argv[1]))
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
client.activate()
while robot.time_s < STAND_UP_S + float(sys.argv[2]):
    order = client.command()
    motors = (order.stiffness, order.joint_position, order.damping, order.joint_velocity, order.torque)
    robot.command = MotorCommand(*motors)
    tick((1, 0, 0))
print(f"{order.mode.name.lower()}, {robot.data.qpos[0]:.1f} m from where it stood up")
client.release()
