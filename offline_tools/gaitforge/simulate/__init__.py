"""The simulated robot: in real time over UDP, or with a policy called directly."""

import os
import sys

if sys.platform == "linux":
    # MuJoCo reads this at its first import. Pictures are drawn offscreen, also where there is no display.
    os.environ.setdefault("MUJOCO_GL", "egl")
