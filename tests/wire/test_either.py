"""A controller publishes one of two kinds; before its session gaitd takes either."""

from __future__ import annotations

import numpy as np
import pytest

from gaitd.wire.codec import decode_either, encode_state
from gaitd.wire.frame import WireError
from gaitd.wire.messages import RawObservation, RobotState
from support.controller import standing_state
from support.proto import encode_raw_observation


def test_either_kind_is_told_apart() -> None:
    state = standing_state(np.zeros(3, np.float32))
    raw = RawObservation(0, 1, 2, np.ones(7, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32))
    assert isinstance(decode_either(encode_state(state), 7, 3), RobotState)
    assert isinstance(decode_either(encode_raw_observation(raw), 7, 3), RawObservation)
    with pytest.raises(WireError):
        decode_either(encode_raw_observation(raw), 8, 3)
    with pytest.raises(WireError):
        decode_either(encode_state(state)[:-1], 7, 3)
