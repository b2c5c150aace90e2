"""What a chain that does not start says of its programs."""

from __future__ import annotations

from pathlib import Path

from gaitforge.stack.processes import last_words


def test_it_names_the_program_that_is_silent(tmp_path: Path) -> None:
    (tmp_path / "simulate.log").write_text("")
    (tmp_path / "controller.log").write_text("[   0.001] listening\n[   0.002] waiting for the robot\n")
    assert last_words(tmp_path, ("simulate", "controller")) == (
        "simulate has said nothing yet; controller: [   0.002] waiting for the robot"
    )
