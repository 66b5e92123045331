"""What modules keep beside parameters and buffers, and hand out by torch's own hooks: `get_extra_state` and its pair.

It is saved and put back as weights are, by the names that torch's `state_dict` has for it. What a checkpoint holds of
it is plain: tensors come back on the CPU, and tuples as lists.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from torch import nn

from shoal.checkpoints.plain import plain
from shoal.errors import CheckpointError, place_of, said

LAST = "_extra_state"


def extra_state(model: nn.Module) -> dict[str, Any]:
    """Return what the modules of a model keep, as they hand it out; empty where none has `get_extra_state`.

    Raises CheckpointError that names the module whose state cannot be had, or could not be put back.
    """
    found: dict[str, Any] = {}
    for name, module in _keepers(model):
        if type(module).set_extra_state is nn.Module.set_extra_state:
            raise CheckpointError(
                f"{name}: {type(module).__name__} has a get_extra_state and no set_extra_state, so that what it keeps "
                "could not be put back when the run is resumed: give it both, or neither."
            )
        try:
            found[name] = module.get_extra_state()
        except Exception as error:  # a boundary: the code is the user's, and the traceback is kept as the cause
            raise CheckpointError(
                f"{name}: get_extra_state of {type(module).__name__} raised {said(error)}{place_of(error)}, and no "
                "checkpoint is whole without it."
            ) from error
    return found


def load_extra_state(model: nn.Module, saved: Mapping[str, Any] | None) -> None:
    """Hand the modules what was saved; None, from before it was saved, leaves them as they are.

    Raises CheckpointError where it is that of another model, or a module does not take it.
    """
    if saved is None:
        return
    keepers = dict(_keepers(model))
    if set(keepers) != set(saved):
        raise CheckpointError(
            f"the saved extra state is that of another model: {', '.join(sorted(set(keepers) ^ set(saved)))}."
        )
    for name, module in keepers.items():
        try:
            module.set_extra_state(saved[name])
        except Exception as error:  # a boundary, as above
            raise CheckpointError(
                f"{name}: set_extra_state of {type(module).__name__} raised {said(error)}{place_of(error)} on what its "
                "get_extra_state gave (as a checkpoint has it: tensors on the CPU, lists for tuples)."
            ) from error


@contextmanager
def lent(model: nn.Module, other: Mapping[str, Any] | None) -> Generator[None]:
    """Let the modules keep something else within the block; None leaves them as they are.

    Where the block is left half done, what it changed in them is put back too: it is done again from its beginning.
    """
    own = plain(extra_state(model))
    try:
        load_extra_state(model, None if other is None else plain(other))
        yield
    except BaseException:
        load_extra_state(model, own)
        raise
    if other is not None:
        load_extra_state(model, own)


def _keepers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, module in cast("Iterator[tuple[str, nn.Module]]", model.named_modules()):
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            yield (f"{path}.{LAST}" if path else LAST), module
