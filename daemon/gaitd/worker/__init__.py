"""The worker process: answers each robot state with one joint command."""
