"""gaitd's worker on the board that the environment names."""

from __future__ import annotations

import sys

from standin.board import take_the_role

from gaitd.worker.main import main

if __name__ == "__main__":
    take_the_role()
    sys.exit(main())
