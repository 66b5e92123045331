"""Faults: real kills of real processes, real damaged files."""
