from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import native


@pytest.fixture(scope="session")
def programs() -> Path:
    """The directory of the C++ programs."""
    if not native.available():
        pytest.skip(native.MISSING)
    return native.build()
