"""Who confirms each step: a person at a terminal, or nobody beside a simulated robot."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from typing import Protocol

from gaitd.errors import InputError

GO, SKIP, QUIT = "", "s", "q"
BUTTON_TIMEOUT_S = 10.0


class Confirmer(Protocol):
    """Decides about each step."""

    patience_s: float
    """How long the robot may take to walk, and gaitd to come back."""

    def confirm(self) -> str:
        """GO, SKIP or QUIT."""

    def press(self) -> bool:
        """Have the controller's button pressed; False when there is nobody who could."""


class Person:
    """Asks at the terminal."""

    patience_s = 3600.0

    def __init__(self, ask: Callable[[str], str] = input) -> None:
        self._ask = ask

    def confirm(self) -> str:
        """What was typed; asked again until it is one of the three."""
        while True:
            try:
                answer = self._ask("  [Enter] go on   s skip   q quit: ").strip().lower()
            except EOFError:
                return QUIT
            if answer in (GO, SKIP, QUIT):
                return answer

    def press(self) -> bool:
        """Tell the person."""
        print("  Press it now.", flush=True)
        return True


class Nobody:
    """Confirms everything; a command presses the button."""

    patience_s = 90.0

    def __init__(self, button: str | None) -> None:
        self._button = shlex.split(button or "")

    def confirm(self) -> str:
        """Always GO."""
        return GO

    def press(self) -> bool:
        """Run the command. Raises InputError when it fails."""
        if not self._button:
            return False
        try:
            done = subprocess.run(self._button, capture_output=True, text=True, timeout=BUTTON_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"--button: {error}") from None
        if done.returncode != 0:
            raise InputError(f"--button ended with {done.returncode}: {done.stderr.strip() or 'no output'}")
        return True
