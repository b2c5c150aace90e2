"""Telemetry: reads the memory of the others in a process of its own, so that nothing here can delay a step."""
