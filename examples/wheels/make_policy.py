"""Makes wheels.gaitd: a controller that is one matrix, written by hand, as an ONNX model with manifest.yaml.

    python examples/wheels/make_policy.py

Not a trained policy: it is here for what a wheeled robot needs of gaitd, and for nothing else.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from gaitforge.bundle.pack import pack

HERE = Path(__file__).parent
ROLL_RATE, PITCH_RATE, YAW_RATE, GRAVITY_X, GRAVITY_Y, _, FORWARD, LEFT, TURN, SWAY = range(10)
"""Places in the observation: angular velocity, projected gravity, velocity command, phase."""
LEGS = (("FL", 1, 1), ("FR", 1, -1), ("HL", -1, 1), ("HR", -1, -1))
"""Name, +1 in front and -1 behind, +1 left and -1 right."""
WHEEL_RADIUS_M, HALF_TRACK_M = 0.08, 0.23
LEG_SCALE_RAD, WHEEL_SCALE_RAD_PER_S = 0.25, 5.0
"""As in the manifest."""
LEVELLING, LEVELLING_RATE = 0.4, 0.01
"""rad of a leg's crouch for a base tilted by 1 rad, and for each rad/s."""
SWAY_RAD = 0.02
"""Of a leg's crouch, so that no two actions are alike."""
SKID, YAW_GAIN = 2.5, 6.0
"""A wheel slips sideways in a turn: it is asked for so much more, and for what is missing of the rate."""


def weights() -> npt.NDArray[np.float32]:
    """(12, 10): action = weights @ observation; hip and knee of each leg, then the four wheels."""
    matrix = np.zeros((12, 10))
    for index, (_, fore, left) in enumerate(LEGS):
        hip, knee, wheel = matrix[2 * index], matrix[2 * index + 1], matrix[8 + index]
        # Nose down makes gravity_x positive, and the legs in front longer: less crouched.
        crouch = np.zeros(10)
        crouch[GRAVITY_X], crouch[PITCH_RATE] = -fore * LEVELLING, -fore * LEVELLING_RATE
        crouch[GRAVITY_Y], crouch[ROLL_RATE] = -left * LEVELLING, left * LEVELLING_RATE
        crouch[SWAY] = SWAY_RAD
        hip += -fore * crouch / LEG_SCALE_RAD
        knee += 2 * fore * crouch / LEG_SCALE_RAD
        # v = r * w at the wheel; the turn adds v = turn * half the track, and what is missing of it.
        wheel[FORWARD] = 1.0
        wheel[TURN] = -left * HALF_TRACK_M * (SKID + YAW_GAIN)
        wheel[YAW_RATE] = left * HALF_TRACK_M * YAW_GAIN
        wheel /= WHEEL_RADIUS_M * WHEEL_SCALE_RAD_PER_S
    return matrix.astype(np.float32)


def model() -> onnx.ModelProto:
    """The matrix as a graph: action (1, 12) = observation (1, 10) by one Gemm."""
    tensors = [numpy_helper.from_array(weights(), "weights")]
    node = helper.make_node("Gemm", ["obs", "weights"], ["action"], transB=1)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("obs", 10), ("action", 12))
    ]
    graph = helper.make_graph([node], "wheels", ends[:1], ends[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "policy.onnx"
        onnx.save(model(), path)
        sources = {"manifest": HERE / "manifest.yaml", "onnx": path}
        pack(sources, HERE / "wheels.gaitd", mjcf=HERE / "robot.xml")


if __name__ == "__main__":
    main()
