"""gaitctl rehearse, unattended, with the simulated robot, the C++ controller and gaitd as real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd.ctl.rehearse.steps import STEPS
from gaitd.errors import GaitdError
from gaitforge.stack.processes import Chain, Walk

REPOSITORY = Path(__file__).parents[3]
BUNDLE = REPOSITORY / "examples/lite3_walk/lite3_walk.gaitd"
CONTROLLER = REPOSITORY / "build/cpp/lite3_controller"

pytestmark = pytest.mark.rehearse


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """A robot that stands up again after each damping, and a gaitd that is started again when it dies."""
    config = tmp_path / "gaitd.toml"
    config.write_text("[daemon]\nrehearsal = true\n")
    over = threading.Event()
    with Chain(
        bundle=BUNDLE,
        controller=CONTROLLER,
        directory=tmp_path / "chain",
        walk=Walk(seconds=300.0),
        gaitd_options=("--config", str(config)),
        controller_options=("--stand-up", "0.8", "--stand-up-again", "0.7", "--seconds", "300"),
    ) as chain:

        def start_again() -> None:
            while not over.wait(0.05):
                try:
                    chain.check_alive()
                except GaitdError:
                    chain.restart("gaitd")

        manager = threading.Thread(target=start_again)
        manager.start()
        yield chain
        over.set()
        manager.join()


def test_every_row_is_within_its_bound(chain: Chain, tmp_path: Path) -> None:
    output = tmp_path / "rehearsal.json"
    command = [sys.executable, "-m", "gaitd.ctl.cli", "--runtime-dir", str(chain.runtime_dir), "rehearse"]
    button = f"kill -USR1 {chain.pid('controller')}"
    done = subprocess.run(
        [*command, "--yes", "--button", button, "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=150,
    )
    print(done.stdout, done.stderr)
    table = json.loads(output.read_text())
    rows = {row["fault"]: row for row in table["rows"]}
    assert [(name, row["why"]) for name, row in rows.items() if row["verdict"] != "ok"] == []
    assert done.returncode == 0
    assert list(rows) == [step.fault for step in STEPS]
    assert table["watched"]
    assert rows["controller's loop paused"]["reason"] == "client_deadline"
    assert rows["guardian killed"]["ready_s"] > 0
    assert "Every row is within its bound" in output.with_suffix(".html").read_text()
    chain.wait_active()  # and nothing was left behind
