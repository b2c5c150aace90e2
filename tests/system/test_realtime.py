"""Real-time settings of a whole process, in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gaitd.system.realtime import may_use_fifo

PROGRAM = """
import json, os, threading
from gaitd.system.config import Realtime
from gaitd.system.realtime import apply_realtime

done = threading.Event()
other = threading.Thread(target=done.wait)
other.start()
apply_realtime(Realtime(lock_memory=False, cpu_dma_latency=False), [], 60)
print(json.dumps([os.sched_getscheduler(thread.native_id) for thread in (threading.current_thread(), other)]))
done.set()
"""


def test_only_the_thread_that_starts_others_resets_their_priority() -> None:
    """libzmq aborts when one of its threads may not set its own priority, which the flag would forbid."""
    if not may_use_fifo():
        pytest.skip("no permission for SCHED_FIFO here: ulimit -r 80, or root")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    fifo, reset_on_fork = 1, 0x40000000
    assert json.loads(done.stdout) == [fifo | reset_on_fork, fifo]
