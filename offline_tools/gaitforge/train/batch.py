"""MuJoCo's batch of simulations, which comes with MuJoCo 4."""

from gaitforge.simulate.physics import mujoco  # first: without MuJoCo's drawing

# isort: split
from mujoco.batch import Batch

__all__ = ["Batch", "mujoco"]
