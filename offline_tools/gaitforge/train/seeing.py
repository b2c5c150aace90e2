"""What many robots see of the ground: the newest frame of a stream, as gaitd would have it, and its age."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.manifest import Manifest, Stream
from gaitd.policy.sources import source_name
from gaitforge.simulate.direct import full_command
from gaitforge.simulate.height_map import HeightMap
from gaitforge.simulate.terrain import Terrain
from gaitforge.train.config import Seen
from gaitforge.train.memory import Memory

Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_SAME_S = 1e-6


class Seeing:
    """The map of n robots. A frame is there as soon as it was captured; at times there are none."""

    def __init__(self, seen: Seen, manifest: Manifest) -> None:
        """Raises InputError when the manifest has no such stream, or an encoder takes it."""
        self._seen = seen
        self._map = HeightMap.of(seen.stream, manifest)
        streams = [each for each in manifest.streams if each.name == self._map.stream.name]
        if not streams:
            raise InputError(f"height_map: training has no encoders, and one takes {self._map.stream.name}")
        self.stream: Stream = streams[0]
        """As the manifest has it."""
        self._period_s = manifest.control_period_s
        self._most = None
        if self.stream.slow_max is not None:
            self._most = np.array(self.stream.slow_max) * full_command(manifest)

    def start(self, memory: Memory, robots: Mask, rng: np.random.Generator) -> None:
        """These robots start anew: no frame has come yet."""
        count = int(np.count_nonzero(robots))
        memory.frame_age_s[robots] = np.inf
        memory.blind[robots] = rng.random(count) < self._seen.lost
        memory.blind_left_s[robots] = self._span_s(memory.blind[robots], rng)

    def look(
        self,
        memory: Memory,
        terrain: Terrain | None,
        places: Float64Array,
        rng: np.random.Generator,
        level: float,
    ) -> dict[str, npt.NDArray[np.floating]]:
        """One control step: what the terms see, by source, (n, values) each.

        ``places`` (n, 7): the bases' positions [m] and orientations w, x, y, z. ``level``: part of the noise.
        """
        stream = self.stream
        memory.frame_age_s += self._period_s
        memory.blind_left_s -= self._period_s
        turned = memory.blind_left_s <= 0.0
        memory.blind ^= turned
        memory.blind_left_s[turned] = self._span_s(memory.blind[turned], rng)
        due = ~memory.blind & (memory.frame_age_s > 1.0 / stream.rate_hz - _SAME_S)
        frames = self._map.sample(terrain, places[due]).reshape(np.count_nonzero(due), stream.size)
        width = self._seen.noise_m * level
        noisy = frames + rng.uniform(-width, width, frames.shape)
        memory.frame[due] = np.clip(noisy, stream.min, stream.max)
        memory.frame_age_s[due] = 0.0
        stale = self._stale(memory)
        hidden = stale[:, None] & (stream.beyond == "zeros")
        return {
            source_name("stream", stream.name): np.where(hidden, 0.0, memory.frame),
            source_name("stream_age", stream.name): np.minimum(memory.frame_age_s, stream.max_age_s)[:, None],
            source_name("stream_valid", stream.name): ~stale[:, None],
        }

    def cap(self, command: Float64Array, memory: Memory) -> Float64Array:
        """The commands (n, 3), slower where the stream asks for that while it is stale."""
        if self._most is None:
            return command
        return np.where(self._stale(memory)[:, None], np.clip(command, -self._most, self._most), command)

    def _stale(self, memory: Memory) -> Mask:
        stale: Mask = memory.frame_age_s > self.stream.max_age_s + _SAME_S
        return stale

    def _span_s(self, blind: Mask, rng: np.random.Generator) -> Float64Array:
        """How long it stays so: in the mean ``lost`` of the time blind."""
        seen = self._seen
        span_s = rng.uniform(*seen.lost_s, len(blind))
        seeing = (1.0 - seen.lost) / seen.lost if seen.lost > 0.0 else np.inf
        return np.where(blind, span_s if seen.lost < 1.0 else np.inf, span_s * seeing)
