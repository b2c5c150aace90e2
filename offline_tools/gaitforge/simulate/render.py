"""Pictures of a run, drawn after it from its trace: a filmstrip and a video, without a display."""

from __future__ import annotations

import copy
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from gaitd.errors import InputError
from gaitforge.simulate.physics import mujoco
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.stature import LITE3
from gaitforge.simulate.trace import Motion

Frame = npt.NDArray[np.uint8]

FILMSTRIP_FRAMES = 6
FILMSTRIP_SIZE = (400, 320)
VIDEO_SIZE = (640, 360)
VIDEO_RATE_HZ = 25
VIDEO_SUFFIX = ".mp4"

_SUPERSAMPLING = 2
_LABEL_INK = (32, 42, 54)


class Camera:
    """Draws the robot of a trace from the side; the camera moves along with it."""

    def __init__(self, size: tuple[int, int], robot: Robot | None = None) -> None:
        """Make pictures of that width and height of a robot on its ground, by default the Lite3.

        Raises InputError when nothing can be drawn offscreen.
        """
        self._size = size
        robot = robot or Robot()
        self._body, self._model = robot.body, copy.copy(robot.model)
        self._data = mujoco.MjData(self._model)
        width, height = (_SUPERSAMPLING * pixels for pixels in size)
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = width, height
        if sys.platform == "linux" and not os.environ.get("MUJOCO_GL"):
            os.environ["MUJOCO_GL"] = "egl"  # draws also where there is no display
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # What physics.py left out; it imports the platform that MUJOCO_GL names.
                importlib.reload(sys.modules[mujoco.Renderer.__module__].gl_context)
                self._renderer = mujoco.Renderer(self._model, height, width)
        except Exception as error:  # each of MuJoCo's GL platforms raises something else
            reason = " ".join(str(error).split())
            raise InputError(
                f"cannot draw offscreen with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')}: {reason}; install "
                "libegl1 and libgl1-mesa-dri and set MUJOCO_GL=egl, or another platform that is installed"
            ) from error
        self._shown = mujoco.MjvOption()
        on_robot = self._model.body_weldid[self._model.geom_bodyid] != 0
        if not np.any(np.asarray(self._shown.geomgroup)[self._model.geom_group[on_robot]]):
            self._shown.geomgroup[:] = 1  # a model of what collides alone
        self._view = mujoco.MjvCamera()
        large = self._body.stature.standing_m / LITE3.standing_m
        self._view.distance = 1.45 * large
        self._middle_m = 0.2 * large
        self._view.azimuth = 125.0
        self._view.elevation = -16.0

    def draw(self, trace: Motion, time_s: float, label: str) -> Image.Image:
        """Return the picture of the sample nearest to a time of the trace, with a label in its corner."""
        index = int(np.argmin(np.abs(trace.time_s - time_s)))
        position = trace.base_position[index]
        self._data.qpos[:3] = position
        self._data.qpos[3:7] = trace.base_orientation[index]
        self._data.qpos[self._body.position] = trace.joint_position[index]
        mujoco.mj_forward(self._model, self._data)
        self._view.lookat[:] = (position[0], position[1], trace.ground_m[index] + self._middle_m)
        self._renderer.update_scene(self._data, self._view, self._shown)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_FOG] = 1
        picture = Image.fromarray(self._renderer.render()).resize(self._size, Image.Resampling.LANCZOS)
        _label(picture, label)
        return picture

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()


def save_filmstrip(
    trace: Motion, path: Path, times_s: list[float] | None = None, robot: Robot | None = None
) -> None:
    """Write a PNG of moments side by side, each labelled with its time after the hand-over.

    ``robot`` is by default the Lite3. Without ``times_s`` [s after the hand-over] the moments are spread
    evenly over what comes after it. Raises InputError when there is nothing to draw or no way to draw it.
    """
    start = _start_s(trace)
    if times_s is None:
        times_s = list(np.linspace(0.0, trace.time_s[-1] - start, FILMSTRIP_FRAMES))
    width, height = FILMSTRIP_SIZE
    gap = 4
    strip = Image.new("RGB", (len(times_s) * (width + gap) - gap, height), "white")
    camera = Camera(FILMSTRIP_SIZE, robot)
    try:
        for number, time_s in enumerate(times_s):
            strip.paste(camera.draw(trace, start + time_s, f"{time_s:.1f} s"), (number * (width + gap), 0))
    finally:
        camera.close()
    strip.save(path)


def check_video(path: Path) -> None:
    """Raise InputError for a name that is no MP4's, before there is anything to draw."""
    if path.suffix.lower() != VIDEO_SUFFIX:
        raise InputError(f"{path}: a video is written as MP4: give it a name that ends in {VIDEO_SUFFIX}")


def save_video(
    trace: Motion, path: Path, robot: Robot | None = None, caption: Callable[[float], str] | None = None
) -> None:
    """Write the whole run as an MP4 in real time; ``caption`` makes of a time of the trace what stands there.

    Raises InputError as save_filmstrip does, and when the run is no longer than one sample.
    """
    if len(trace.time_s) and trace.time_s[0] == trace.time_s[-1]:
        raise InputError("nothing to film: there is only one sample, which is a picture and no motion")
    import imageio_ffmpeg  # type: ignore[import-untyped]

    writer = imageio_ffmpeg.write_frames(path, VIDEO_SIZE, fps=VIDEO_RATE_HZ, macro_block_size=8, quality=7)
    writer.send(None)
    try:
        for frame in _frames(trace, robot, caption):
            writer.send(frame)
    finally:
        writer.close()


def _frames(
    trace: Motion, robot: Robot | None, caption: Callable[[float], str] | None = None
) -> Iterator[Frame]:
    start = _start_s(trace)
    caption = caption or (lambda time_s: f"{time_s - start:.1f} s")
    camera = Camera(VIDEO_SIZE, robot)
    try:
        for time_s in np.arange(trace.time_s[0], trace.time_s[-1], 1.0 / VIDEO_RATE_HZ):
            yield np.asarray(camera.draw(trace, time_s, caption(time_s)))
    finally:
        camera.close()


def _start_s(trace: Motion) -> float:
    if not len(trace.time_s):
        raise InputError("nothing to draw: the run has no samples")
    return float(trace.time_s[0] if np.isnan(trace.handover_s) else trace.handover_s)


def _label(picture: Image.Image, text: str) -> None:
    font = ImageFont.load_default(size=picture.height // 16)
    ImageDraw.Draw(picture).text(
        (picture.width - picture.height // 24, picture.height // 24),
        text,
        fill=_LABEL_INK,
        font=font,
        anchor="ra",
    )
