"""Telemetry: reads the others' memory in a process of its own: nothing here can delay a step."""
