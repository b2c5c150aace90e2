"""The kinds of failure that failovers are measured with; imports nothing, for the command line needs them."""

ROWS = {
    "kill -9": "with standby: worker: kill -9",
    "segfault": "with standby: worker: segfault in a C library",
    "hang": "with standby: inference hangs for ever, lock held",
}
"""The row of the table of faults that each kind is an injection of."""
