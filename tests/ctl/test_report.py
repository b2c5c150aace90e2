"""gaitctl report: one file that can be sent, and shown beside another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zmq

from gaitd.ctl.cli import main
from gaitd.ctl.redact import redact


@pytest.fixture
def config(tmp_path: Path) -> Path:
    config = tmp_path / "gaitd.toml"
    config.write_text(
        "[realtime]\nenabled = false\n[guard]\ndeadline_periods = 7\n"
        '[network]\naddress = "192.168.7.21"\nserver_key = "/home/ada/robot.key"\nallowed_keys = "/k"\n'
    )
    return config


def report(tmp_path: Path, bundle: Path, config: Path, *more: str) -> Path:
    output = tmp_path / "report.json"
    options = ["--bundle", str(bundle), "--config", str(config), "--seconds", "0.05", "--no-bench"]
    assert main(["--runtime-dir", str(tmp_path), "report", *options, "--output", str(output), *more]) == 0
    return output


def test_it_holds_what_a_helper_needs(
    tmp_path: Path, small_bundle_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = json.loads(report(tmp_path, small_bundle_path, config).read_text())
    assert made["machine"]["kernel"]
    assert made["packages"]["numpy"]
    assert {check["check"] for check in made["doctor"]} >= {"config", "policy", "gaitd"}
    assert made["config"] == {"guard": {"deadline_periods": 7.0}, "network": "changed",
                              "realtime": {"enabled": False}}  # fmt: skip
    assert made["policy"]["name"] == "small"
    assert made["selftest"]["backends"]["onnx"]["latency"]["count"] > 0
    assert "model.rknn" in made["selftest"]["backends"]["rknn"]["error"]
    assert made["service"] == {"error": "no gaitd answers"}
    assert "read it before you send it" in capsys.readouterr().out


def test_no_secret_gets_in(tmp_path: Path, small_bundle_path: Path, config: Path) -> None:
    text = report(tmp_path, small_bundle_path, config).read_text()
    for secret in ("192.168.7.21", "ada", "robot.key"):
        assert secret not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at /home/ada/x and /home/bob", "at /home/<user>/x and /home/<user>"),
        ("10.0.0.5:9468 and 127.0.0.1", "<address>:9468 and 127.0.0.1"),
        ("kernel 5.10.160-rk, driver 0.9.8", "kernel 5.10.160-rk, driver 0.9.8"),
        ("mac 00:1b:44:11:3a:b7, v6 fe80::1ff:fe23:4567:890a", "mac <address>, v6 <address>"),
        ("at 12:30:05 o'clock", "at 12:30:05 o'clock"),
        ("on gizmo: gizmo-2 is another", "on <host>: gizmo-2 is another"),
        ("uuid 0c1f2a3b-1111-2222-3333-444455556666", "uuid <uuid>"),
        ("sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ],
)
def test_names_and_addresses_are_taken_out(text: str, expected: str) -> None:
    assert redact({"a": [text]}, host="gizmo") == {"a": [expected]}


def test_keys_are_taken_out() -> None:
    public, secret = (key.decode() for key in zmq.curve_keypair())
    assert redact(f"key {secret} of {public}") == "key <key> of <key>"


def test_two_reports_stand_side_by_side(
    tmp_path: Path, small_bundle_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = report(tmp_path, small_bundle_path, config)
    second = tmp_path / "other.json"
    second.write_text(first.read_text().replace('"system": "', '"system": "Another '))
    capsys.readouterr()
    assert main(["report", "--show", str(first), str(second)]) == 0
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith("system"))
    assert row.count("Debian" if "Debian" in row else "Another") >= 1
    assert "Another" in row
    assert "findings of doctor of report 2:" in shown


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "expected a JSON object, got list"),
        ("{}", "format is None, expected 'gaitd report 1'"),
        ('{"format": "gaitd report 1"}', "x.json: damaged: KeyError: 'machine'"),
        ('{"format": "gaitd report 1", "machine": null, "service": {}}', "x.json: damaged: TypeError"),
    ],
)
def test_what_is_no_report_is_refused(
    tmp_path: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    assert main(["report", "--show", str(path)]) == 2
    assert message in capsys.readouterr().err
