"""How near the robot comes to each limit: the least headroom of the last seconds, as a share of the limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gaitd.policy.action import ActionMapper
from gaitd.policy.bounds import TargetBounds
from gaitd.policy.joints import positive_joint_array
from gaitd.policy.limits import RATES
from gaitd.policy.manifest import Manifest

WINDOW_NS = 10_000_000_000
Records = npt.NDArray[Any]


class Headroom(Collector):
    """Fed with step records; 1 is far from the limit, 0 at it or beyond."""

    def __init__(self, manifests: Sequence[Manifest], deadline_s: float) -> None:
        """``manifests``: of the policies, in their order."""
        self._limits = [_Limits(manifest, deadline_s) for manifest in manifests]
        self._least: deque[tuple[int, dict[str, float]]] = deque()

    def feed(self, records: Records, policy: int = 0) -> None:
        """Take the commands that were sent of the policy with that index."""
        sent = records[records["sent_ns"] != 0]
        if not len(sent):
            return
        now_ns = int(sent["sent_ns"][-1])
        self._least.append((now_ns, dict(self._limits[policy].headroom_of(sent))))
        while self._least[0][0] < now_ns - WINDOW_NS:
            self._least.popleft()

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        family = GaugeMetricFamily(
            "gaitd_limit_headroom_ratio",
            "How far from a limit, as a share of it: the least of the last 10 s of walking; 0: at the limit.",
            labels=["limit"],
        )
        for limit, value in sorted(self.least().items()):
            family.add_metric([limit], value)
        yield family

    def least(self) -> dict[str, float]:
        """By limit, 0 to 1: of the last 10 s of walking."""
        found: dict[str, float] = {}
        for _, least in list(self._least):
            for limit, value in least.items():
                found[limit] = max(0.0, min(value, found.get(limit, 1.0)))
        return found


class _Limits:
    """Of one policy."""

    def __init__(self, manifest: Manifest, deadline_s: float) -> None:
        limits = manifest.limits
        mapper = ActionMapper(manifest)
        self._bounds = TargetBounds.of(manifest, mapper)
        self._follow = {kind: mapper.follow(kind) for kind in RATES}
        self._deadline_s = deadline_s
        self._tilt = None if limits.posture is None else limits.posture.max_tilt_rad
        self._velocity = None
        if limits.state is not None:
            self._velocity = positive_joint_array(
                limits.state.max_velocity_rad_per_s, manifest.joints, "limits.state.max_velocity_rad_per_s"
            )

    def headroom_of(self, records: Records) -> Iterator[tuple[str, float]]:
        """By limit, of these commands."""
        bounds, target = self._bounds, records["target"]
        same = records["epoch"][1:] == records["epoch"][:-1]
        for kind, rate in RATES.items():
            joints = self._follow[kind]
            low, high, slew = bounds.low[joints], bounds.high[joints], bounds.slew[joints]
            of_kind = target[:, joints]
            if kind != "torque" and joints.any():  # a torque's range is the limit on torque, below
                half = (high - low) / 2
                yield kind, float((np.minimum(of_kind - low, high - of_kind) / half).min())
            if np.isfinite(slew).any() and same.any():
                motion = np.abs(of_kind[1:] - of_kind[:-1])[same]
                yield rate, 1.0 - float((motion / slew).max())
        if np.isfinite(bounds.torque.reach).any():
            centre = bounds.torque.centre(records["joint_position"], records["joint_velocity"])
            yield "torque", 1.0 - float((np.abs(target - centre) / bounds.torque.reach).max())
        if self._velocity is not None:
            yield "joint_velocity", 1.0 - float((np.abs(records["joint_velocity"]) / self._velocity).max())
        if self._tilt is not None and records["orientation"].any():
            w, x, y, z = records["orientation"].T.astype(float)
            upright = (w * w - x * x - y * y + z * z) / np.maximum(w * w + x * x + y * y + z * z, 1e-9)
            yield "tilt", 1.0 - float(np.arccos(np.clip(upright, -1, 1)).max()) / self._tilt
        age_ns = (records["sent_ns"] - records["state_stamp_ns"]).astype(np.int64)
        yield "deadline", 1.0 - float(age_ns.max()) / 1e9 / self._deadline_s
