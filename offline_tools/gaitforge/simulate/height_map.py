"""A height map as a stream: how far the ground lies below the base, at points around the simulated robot.

What a robot's own map would be, without its errors: sampled from the terrain, in the robot's heading.
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.encoder import EncoderStep, feeds_of
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.schema_stream import Feed
from gaitd.policy.stream import Frames, StreamReceiver, encode_frame
from gaitforge.client.stream import LastingProducer
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.terrain import Terrain

_SPEC = re.compile(r"(?P<name>.+):(?P<length>\d+(\.\d+)?)x(?P<width>\d+(\.\d+)?)")
RETRY_S = 0.2
"""After gaitd was not there, or has gone."""


@dataclass(frozen=True, eq=False)
class HeightMap:
    """Which stream, and where its points are."""

    stream: Feed
    """(rows, columns) float32: from the hindmost row to the foremost, in each from right to left."""
    points_m: npt.NDArray[np.float64]
    """(rows, columns, 2) forward and left of the base."""

    @classmethod
    def of(cls, spec: str, manifest: Manifest) -> HeightMap:
        """``spec``: NAME:LENGTHxWIDTH in m around the base, for a stream there. Raises InputError."""
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise InputError(f"--height-map {spec}: expected NAME:LENGTHxWIDTH in m, as in height:1.6x1.0")
        streams = {each.name: each for each in feeds_of(manifest.streams)}
        if match["name"] not in streams:
            known = ", ".join(streams) or "none"
            raise InputError(f"--height-map {spec}: the policy has no such stream; it has {known}")
        stream = streams[match["name"]]
        if len(stream.shape) != 2 or stream.dtype != "float32":
            raise InputError(
                f"--height-map {spec}: expected a stream of float32 rows x columns, got {stream.kind}"
            )
        forward, left = (
            np.linspace(-float(side) / 2, float(side) / 2, count)
            for side, count in zip((match["length"], match["width"]), stream.shape, strict=True)
        )
        return cls(stream, np.stack(np.meshgrid(forward, left, indexing="ij"), axis=-1))

    def sample(self, terrain: Terrain | None, place: npt.NDArray[np.float64]) -> Float32Array:
        """(..., rows, columns) m: the base's height above each point.

        ``place`` (..., 7): the base's position [m] and its orientation w, x, y, z, in the world.
        """
        w, x, y, z = np.moveaxis(place[..., 3:7, None, None], -3, 0)
        yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
        forward, left = self.points_m[..., 0], self.points_m[..., 1]
        ahead = np.stack(
            (forward * np.cos(yaw) - left * np.sin(yaw), forward * np.sin(yaw) + left * np.cos(yaw)), axis=-1
        )
        points = ahead + place[..., None, None, :2]
        ground = np.zeros(points.shape[:-1]) if terrain is None else terrain.height_m(points)
        below: Float32Array = (place[..., 2, None, None] - ground).astype(np.float32)
        return below


class HeightMapFrames:
    """Its frames in simulated time, or its encoder's, for a policy that is called directly."""

    def __init__(self, spec: str, manifest: Manifest, encoder: EncoderStep | None = None) -> None:
        """``spec``: as ``HeightMap.of`` has it. ``encoder``: makes the policy's stream of it; None: it is
        that stream.

        Raises InputError, also for a policy with other streams, or whose encoder is absent.
        """
        if len(manifest.streams) > 1:
            names = ", ".join(each.name for each in manifest.streams)
            raise InputError(f"--height-map {spec}: nothing here fills the policy's other streams ({names})")
        self._map = HeightMap.of(spec, manifest)
        (stream,) = manifest.streams
        if stream.encoder is not None and encoder is None:
            raise InputError(
                f"--height-map {spec}: an encoder makes stream {stream.name}, and only a bundle has its "
                "model: name one with --bundle"
            )
        self._heights = StreamReceiver(self._map.stream)
        self._stream = self._heights if encoder is None else StreamReceiver(stream)
        self._encoder = encoder
        self._next_ns = 0

    def __call__(self, robot: Robot, now_ns: int) -> Frames:
        """The newest frame, captured at the stream's own rate."""
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + round(1e9 / self._map.stream.rate_hz)
            values = self._map.sample(robot.terrain, robot.data.qpos[:7])
            self._heights.take(encode_frame(self._map.stream, values, now_ns), now_ns)
            if self._encoder is not None and (made := self._encoder.step(self._heights.frame)) is not None:
                self._stream.take(made, now_ns)
        return [self._stream.frame]


class HeightMapPublisher:
    """Publishes it to a gaitd, from a thread of its own, so that the simulator's loop waits for nothing."""

    def __init__(
        self,
        height_map: HeightMap,
        runtime_dir: Path,
        terrain: Terrain | None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """``runtime_dir``: gaitd's. ``say``: hears it when gaitd takes the stream, and why it does not."""
        self._map, self._terrain = height_map, terrain
        stream = height_map.stream
        self._lasting = LastingProducer(runtime_dir, stream, f"height map {stream.name}", say, RETRY_S)
        self._places = queue.Queue[tuple[npt.NDArray[np.float64], int] | None](1)
        self._every_ticks = max(1, round(1000.0 / stream.rate_hz))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def tick(self, robot: Robot) -> None:
        """After each millisecond; does not wait."""
        if robot.ticks % self._every_ticks == 0:
            with contextlib.suppress(queue.Full):
                self._places.put_nowait((robot.data.qpos[:7].copy(), time.monotonic_ns()))

    def close(self) -> None:
        """The end of the stream."""
        self._places.put(None)
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self._lasting):
            while (place := self._places.get()) is not None:
                if (producer := self._lasting.connected) is not None:
                    producer.publish(self._map.sample(self._terrain, place[0]), place[1])
