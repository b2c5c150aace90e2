"""A module whose import does not end; the process is named after it."""

import time

from gaitd.system.realtime import name_process

name_process("never_ends")
while True:
    time.sleep(1.0)
