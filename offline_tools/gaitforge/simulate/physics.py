"""MuJoCo, imported without its drawing: physics must run where no OpenGL platform is available.

MuJoCo imports the platform that MUJOCO_GL names with its first import, and fails when that one is missing.
render.py imports it when there is something to draw.
"""

from __future__ import annotations

import os

_WANTED = os.environ.get("MUJOCO_GL")
os.environ["MUJOCO_GL"] = "disable"
try:
    import mujoco
finally:
    if _WANTED is None:
        del os.environ["MUJOCO_GL"]
    else:
        os.environ["MUJOCO_GL"] = _WANTED

__all__ = ["mujoco"]
