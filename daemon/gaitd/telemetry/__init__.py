"""Telemetry: reads the blackboard from a process of its own, so that nothing here can delay a step."""
