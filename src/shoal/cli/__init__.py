"""The commands: thin, without logic of their own. `main` is the entry point of `shoal` and of `python -m shoal`."""

from shoal.cli.boundary import main

__all__ = ["main"]
