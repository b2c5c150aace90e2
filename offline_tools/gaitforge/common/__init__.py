"""What all commands use: the console, files, tables."""
