"""All commands: `app` with those that are declared elsewhere."""

from shoal.cli import sweep_commands, upkeep_commands
from shoal.cli.app import app

__all__ = ["app", "sweep_commands", "upkeep_commands"]
