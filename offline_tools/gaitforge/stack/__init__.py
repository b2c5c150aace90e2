"""Simulated robot, C++ controller and gaitd as processes of one machine; for demo, tests and faults."""
