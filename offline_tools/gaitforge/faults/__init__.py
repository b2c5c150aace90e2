"""Every fault we can think of, injected into the running chain, and what came of it."""
