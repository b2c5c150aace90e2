from __future__ import annotations

from pathlib import Path

import pytest

from support.cmake import build_tests


@pytest.fixture(scope="session")
def build() -> Path:
    return build_tests()
