"""What people hear of a controller that does not keep the policy's control period."""

from __future__ import annotations

import logging

import pytest

from gaitd.guardian.announce import RateWatch

PERIOD_NS = 12_000_000


@pytest.mark.parametrize(("rate", "said"), [(0.5, 1), (0.8, 1), (0.92, 0), (1.0, 0), (1.09, 0), (1.25, 1)])
def test_a_wrong_rate_is_said_once_a_session(
    rate: float, said: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("gaitd"), "propagate", True)
    watch = RateWatch(PERIOD_NS)
    for _ in range(3):
        watch.look(1, 0)
        watch.look(1, round(PERIOD_NS / rate))
    assert len(caplog.records) == said
    if said:
        assert f"rate={rate:.2f}" in caplog.text
        assert "control_period_ms=12.0" in caplog.text
    watch.look(2, round(PERIOD_NS / rate))
    assert len(caplog.records) == 2 * said
