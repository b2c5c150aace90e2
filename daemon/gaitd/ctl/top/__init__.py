"""gaitctl top: a running gaitd, live in a terminal. It reads, and writes nothing."""
