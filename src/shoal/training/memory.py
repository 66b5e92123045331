"""Memory that ran out in a step or an evaluation: what a person can do."""

from __future__ import annotations

from shoal.errors import OutOfMemoryError


def out_of_memory(step: int | None, batch_size: int | None) -> OutOfMemoryError:
    """Return the error of a step (from 1) on a batch of some size, or of an evaluation, as a person should read it."""
    if step is None:
        text = "memory ran out in an evaluation. Free some, or take a smaller model, or precision=bf16."
    else:
        text = (
            f"memory ran out at step {step:,}, on a batch of {batch_size:,} examples. Add accumulate=2 or more: the "
            "gradient is then computed in parts, with the same result to rounding (guard.memory=halve does so by "
            "itself). Or take a smaller batch_size or model, or precision=bf16."
        )
    return OutOfMemoryError(text, step=step)
