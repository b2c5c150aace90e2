"""An encoder's process: makes a stream from another one, on the CPU."""
