"""How long from a state to its command, beside others: comparison, growth, and what each setting buys."""
