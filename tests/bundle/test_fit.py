"""What this robot's configuration says to a policy: at check, install, activate and start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gaitd.bundle.fit import check_fit, notes_of_fit
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.store import PolicyStore, Selection
from gaitd.cli import main
from gaitd.ctl.cli import main as gaitctl
from gaitd.errors import InputError
from gaitd.system.config import Config, Guard, Realtime
from support.bundles import small_manifest, write_small_bundle

HARD = {"hip": 2.5, "thigh": 1e6, "knee": 2.7}


def bundle(tmp_path: Path, **changes: object) -> Bundle:
    return open_bundle(write_small_bundle(tmp_path / "policy.gaitd", small_manifest(**changes)))


@pytest.mark.parametrize("damping", [0.01, 0.1, 20.5, 50.0, 1e6])
def test_fallback_damping_beyond_the_robots_bounds(tmp_path: Path, damping: float) -> None:
    """Too little drops the robot, too much shakes it; one joint is enough."""
    for value in (damping, {"hip": 2.5, "thigh": damping, "knee": 2.7}):
        with pytest.raises(InputError) as caught:
            check_fit(bundle(tmp_path, fallback_damping_nms_per_rad=value), Config())
        joint = "hip" if value == damping else "thigh"
        assert f"fallback_damping_nms_per_rad: joint '{joint}' has {damping:g} Nm s/rad" in str(caught.value)
        key = "min" if damping < 1 else "max"
        assert f"guard.fallback_damping_{key}_nms_per_rad in gaitd.toml" in str(caught.value)


def test_another_robot_says_so(tmp_path: Path) -> None:
    wide = Guard(fallback_damping_min_nms_per_rad=0.0, fallback_damping_max_nms_per_rad=100.0)
    for value in (0.01, 50.0):
        check_fit(bundle(tmp_path, fallback_damping_nms_per_rad=value), Config(guard=wide))


def test_no_door_is_open_to_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_small_bundle(tmp_path / "hard.gaitd", small_manifest(fallback_damping_nms_per_rad=HARD))
    store = tmp_path / "store"
    run = ["run", "--runtime-dir", str(tmp_path / "run"), "--bundle", str(path)]
    for program, command in (
        (main, ["check", str(path)]),
        (main, run),
        (gaitctl, ["install", "--store", str(store), str(path), "--activate", "--no-restart"]),
    ):
        assert program(command) == 2
        output = capsys.readouterr()
        assert "joint 'thigh' has 1e+06 Nm s/rad" in output.err
        assert output.err.count("\n") == 1
        assert output.out == ""
    assert PolicyStore(store).policies() == []
    config = tmp_path / "gaitd.toml"
    config.write_text("[guard]\nfallback_damping_max_nms_per_rad = 1000\n")
    softer = write_small_bundle(tmp_path / "b.gaitd", small_manifest(fallback_damping_nms_per_rad=30.0))
    install = ["install", "--store", str(store), str(softer), "--config", str(config), "--no-restart"]
    assert gaitctl(install) == 0
    assert main(["check", str(softer), "--config", str(config)]) == 0
    capsys.readouterr()
    # The configuration may have changed since it was installed.
    assert gaitctl(["activate", "--store", str(store), open_bundle(softer).id, "--no-restart"]) == 2
    assert PolicyStore(store).selection() == Selection()


def test_check_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_small_bundle(tmp_path / "small.gaitd")
    assert main(["check", str(path)]) == 0
    assert re.search(r"damping: +in DAMPING 2\.5 to 2\.7 Nm s/rad", capsys.readouterr().out)


def test_the_first_command_has_no_less_time_than_a_later_one(tmp_path: Path) -> None:
    slow = bundle(tmp_path, control_period_s=0.2)
    with pytest.raises(
        InputError, match=r"guard\.first_command_s is 0\.5 s.*deadline_periods \(5\).*, 1 s: "
    ):
        check_fit(slow, Config())
    check_fit(slow, Config(guard=Guard(first_command_s=1.0)))


def test_anticipation_that_is_cut_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = bundle(tmp_path, control_period_s=0.004)
    expected = "realtime.anticipate_ms is 1.2, a quarter of the policy's control period is 1 ms"
    assert [note.startswith(expected) for note in notes_of_fit(fast, Config())] == [True]
    assert notes_of_fit(fast, Config(realtime=Realtime(anticipate_ms=1.0))) == []
    assert main(["check", str(fast.path)]) == 0
    assert f"note: {expected}" in capsys.readouterr().out
