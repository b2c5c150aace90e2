"""The fixture that keeps numbers to be shown at the end of the run, as a type: name, then what was found."""

from collections.abc import Callable
from typing import TypeAlias

Measured: TypeAlias = Callable[[str, str], None]
