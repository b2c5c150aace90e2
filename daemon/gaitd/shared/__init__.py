"""What the processes share: memory files, and what each is told at its start."""
