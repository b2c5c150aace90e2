"""gaitforge simulate on the command line."""

import json
import socket

import pytest

from gaitforge.cli import main
from support.reference import EXAMPLE_BUNDLE


def test_a_bundle_walks_and_reports(tmp_path, capsys):
    report = tmp_path / "report.json"
    options = [
        "--bundle",
        str(EXAMPLE_BUNDLE),
        "--command",
        "1,0,0",
        "--seconds",
        "3",
        "--report",
        str(report),
    ]
    assert main(["simulate", *options]) == 0
    assert "kept walking" in capsys.readouterr().out
    content = json.loads(report.read_text())
    assert content["distance_m"] > 1.5
    assert content["falls"] == 0
    assert content["handover_s"] == 3.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--command", "fast"], "--command 'fast': expected forward,left,yaw"),
        (["--push", "soon"], "--push 'soon': expected SECONDS:VX,VY"),
        (["--seconds", "0"], "--seconds 0: expected more than 0"),
        (["--script", "gone.csv"], "gone.csv: cannot read"),
        (["--report", "gone/report.json"], "the directory gone does not exist"),
        (["--bundle", "gone.gaitd"], "gone.gaitd: no such bundle"),
    ],
)
def test_wrong_options_are_one_clear_line(options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_window_needs_a_display(monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["simulate", "--bundle", str(EXAMPLE_BUNDLE), "--view"]) == 2
    assert "there is no display" in capsys.readouterr().err


def test_a_taken_command_port_is_refused(capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        assert main(["simulate", "--command-port", str(taken.getsockname()[1])]) == 2
    assert "is another simulator running?" in capsys.readouterr().err


def test_a_missing_controller_is_reported(capsys):
    assert main(["simulate", "--command-port", "0", "--wait", "0.1"]) == 3
    assert "did not stand up within 0.1 s; 0 commands came in" in capsys.readouterr().err


def test_a_command_beyond_the_policys_range_is_said(capsys):
    assert main(["simulate", "--bundle", str(EXAMPLE_BUNDLE), "--command", "2,0,0", "--seconds", "0.1"]) == 0
    assert (
        "2,0,0 is beyond the policy's range, -1,-1,-1 to 1,1,1: it is held there" in capsys.readouterr().out
    )
    assert main(["simulate", "--bundle", str(EXAMPLE_BUNDLE), "--command", "1,0,0", "--seconds", "0.1"]) == 0
    assert "range" not in capsys.readouterr().out


def test_a_robot_that_falls_ends_with_3(tmp_path, capsys):
    report = tmp_path / "run.json"
    walk = ["simulate", "--bundle", str(EXAMPLE_BUNDLE), "--seconds", "2", "--report", str(report)]
    assert main([*walk, "--push", "0.2:0,8"]) == 3
    printed, error = capsys.readouterr()
    assert "fell: " in printed
    assert error.startswith("error: the robot fell 0.")
    assert '"outcome": "fell"' in report.read_text()
