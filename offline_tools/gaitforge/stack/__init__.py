"""The whole chain on one machine: simulated robot, C++ controller, gaitd; for demo, tests and faults."""
