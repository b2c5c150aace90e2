"""The examples for people: each is run, or checked as far as this machine can."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitd.bundle.read import Bundle
from gaitd.cli import make_parser as make_gaitd_parser
from gaitd.ctl.cli import make_parser as make_gaitctl_parser
from gaitforge.cli import make_parser as make_gaitforge_parser
from support.guide import ROOT
from support.tape import walking

EXAMPLES = ROOT / "examples"
ROLLOUT = EXAMPLES / "fleet/rollout.sh"
PARSERS = {"gaitd": make_gaitd_parser, "gaitctl": make_gaitctl_parser, "gaitforge": make_gaitforge_parser}
STUB_SSH = """#!/bin/sh
# ssh ROBOT [sudo] gaitctl COMMAND...: notes it, and fails with CODE where FAILS matches.
robot=$1; shift
[ "$1" != sudo ] || shift
[ "$1" != true ] || set -- ssh true
echo "$robot $*" >>"$CALLS"
case "$robot $2" in $FAILS) exit "$CODE" ;; esac
"""


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze not found: apt install systemd"
)
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (EXAMPLES / "systemd/my-controller.service").read_text()
    unit = tmp_path / "my-controller.service"
    unit.write_text(text.replace("/usr/local/bin/my_controller", "/bin/true"))
    gaitd = (ROOT / "systemd/gaitd.service").read_text().replace("/opt/gaitd/bin/gaitd", "/bin/true")
    (tmp_path / "gaitd.service").write_text(gaitd)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
    )
    assert [line for line in done.stderr.splitlines() if "my-controller" in line] == []
    unit.write_text(text.replace("CPUAffinity=7", "CPUAfinity=7"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True
    )
    assert "CPUAfinity" in done.stderr, "it finds mistakes"


@pytest.fixture
def roll_out(tmp_path: Path) -> Any:
    """Run the script with an ssh that only notes; how it ended and what was asked of which robot."""
    for name, text in {"ssh": STUB_SSH, "scp": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(fails: str, *robots: str, code: int = 3) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        calls = tmp_path / "calls"
        calls.write_text("")
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(calls), "FAILS": fails}
        env["CODE"] = str(code)
        done = subprocess.run([ROLLOUT, "walk.gaitd", *robots], env=env, capture_output=True, text=True)
        return done, calls.read_text().splitlines()

    return run


def test_a_roll_out_goes_from_robot_to_robot(roll_out: Any) -> None:
    done, calls = roll_out("nobody", "one", "two")
    assert done.returncode == 0
    assert [" ".join(call.split()[:3]) for call in calls] == [
        f"{robot} {command}"
        for robot in ("one", "two")
        for command in (
            "ssh true",
            "gaitctl safe-to-stop",
            "gaitctl selftest",
            "gaitctl install",
            "gaitctl doctor",
        )
    ]
    for call in calls:
        if "ssh true" in call:
            continue
        make_gaitctl_parser().parse_args(shlex.split(call)[2:])


@pytest.mark.parametrize(
    ("fails", "last"),
    [
        ("one safe-to-stop", "one gaitctl safe-to-stop"),
        ("one selftest", "one gaitctl selftest --bundle /tmp/walk.gaitd"),
        ("one install", "one gaitctl install /tmp/walk.gaitd --activate"),
        ("one doctor", "one gaitctl rollback"),
    ],
)
def test_a_roll_out_ends_at_the_first_robot_that_is_not_fit(roll_out: Any, fails: str, last: str) -> None:
    done, calls = roll_out(fails, "one", "two")
    assert done.returncode == 1
    assert calls[-1] == last


@pytest.mark.parametrize(
    ("fails", "last", "told"),
    [
        ("one *", "one ssh true", "one: ssh does not reach it; nothing was changed on it"),
        (
            "one install",
            "one gaitctl install",
            "ssh was lost during the change: it has the old policy or the new",
        ),
        (
            "one doctor",
            "one gaitctl doctor",
            "it has the new policy, not known to be fit. There: sudo gaitctl",
        ),
    ],
)
def test_where_ssh_fails_it_says_how_the_robot_was_left(
    roll_out: Any, fails: str, last: str, told: str
) -> None:
    done, calls = roll_out(fails, "one", "two", code=255)
    assert done.returncode == 1
    assert calls[-1].startswith(last)
    assert told in done.stderr


def test_a_roll_back_that_fails_is_not_promised(roll_out: Any) -> None:
    done, _ = roll_out("one [dr]o*", "one", "two")
    assert done.returncode == 1
    assert "still on it: the roll-back failed" in done.stderr


def test_the_ci_job_says_what_the_programs_know() -> None:
    job = yaml.safe_load((EXAMPLES / "ci/bundle.yml").read_text())
    scripts = [step["run"] for step in job["jobs"]["bundle"]["steps"] if "run" in step]
    lines = [shlex.split(line) for script in scripts for line in script.splitlines()]
    ours = [words for words in lines if words[0] in PARSERS]
    assert [words[:2] for words in ours] == [
        ["gaitforge", "setup-rknn"],
        ["gaitforge", "chain"],
        ["gaitd", "check"],
    ]
    for words in ours:
        PARSERS[words[0]]().parse_args(words[1:])
    for script in scripts:
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_the_notebook_opens_a_recording(
    small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with walking(small_bundle, 100) as tape:
        tape.backend.error = "rknn_run: RKNN_ERR_TIMEOUT"
        tape.walk(8)
        path = tape.save(tmp_path / "gaitd-000001-backend_error.mcap")
    monkeypatch.setenv("RECORDING", str(path))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    notebook = json.loads((EXAMPLES / "notebook/recording.ipynb").read_text("utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "nothing of whoever saved it"
            exec("".join(cell["source"]), names)
    printed = capsys.readouterr().out
    assert re.search(r"\d+ steps of \d+ ms, for: backend_error", printed)
    assert "DAMPING, BACKEND_ERROR" in printed
    assert len(names["plt"].get_fignums()) == 2
    names["plt"].close("all")
