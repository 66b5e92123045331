"""What a recording must not hold: a look at values, memory that is not its own, tensors with two names.

make_fx refuses Python that asks for a value by `item`, `bool` or `float`. What it lets through is refused here: values
asked for by `tolist` and `numpy`, operations whose results have as many rows as the values say, and constants that are
not constant. Every reason is a clause that names the operation or the tensor, and the module where it is known.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from shoal.training.attributes import held
from shoal.training.branches import branches_of
from shoal.training.phases import module_of
from shoal.training.trial import NotRecordableError

ASKING: frozenset[Any] = frozenset([Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__])
"""What hands a tensor's values to Python without an operation that make_fx would see."""
ROWS = frozenset(
    ["nonzero", "argwhere", "where", "masked_select", "unique", "unique_consecutive", "bincount", "repeat_interleave",
     "__getitem__", "_unique2", "_unique_impl", "_return_output", "_return_counts", "_consecutive_return_output"]
)  # fmt: skip
"""Functions that may return as many rows as the values of a tensor say: looked at while they are called."""
INDEXING: frozenset[Any] = frozenset([torch.ops.aten.index.Tensor])
"""Operations whose result has as many rows as the values say where an index is a mask, and only there."""


AS_VALUES_SAY = (
    "returns as many rows as the values of a tensor say: torch.where and products with a mask have a fixed shape"
)


class NoAsking(TorchFunctionMode):
    """Raises where Python takes the values of a tensor; the message is one that `trial.reason` knows."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ASKING:
            raise RuntimeError(f"{func.__name__} is data-dependent")
        if getattr(func, "__name__", "") not in ROWS or torch.compiler.is_dynamo_compiling():  # within a `torch.cond`
            return func(*args, **(kwargs or {}))
        with NoRows():  # not around the whole step: `torch.cond` knows no such mode
            return func(*args, **(kwargs or {}))


class NoRows(TorchDispatchMode):
    """Raises where an operation returns as many rows as the values of a tensor say: a recording would keep a number.

    It sees an operation whose result is used in Python alone, such as `len(x.nonzero())`, which is no part of a graph.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func in INDEXING and any(_is_mask(index) for index in args[1])
        if by_mask or (torch.Tag.dynamic_output_shape in getattr(func, "tags", ()) and func not in INDEXING):
            name = "a mask as an index" if by_mask else _plain(func)
            raise NotRecordableError(f"{name} {AS_VALUES_SAY}")
        return func(*args, **(kwargs or {}))


def check_graph(module: fx.GraphModule, *, copy: nn.Module, apart: nn.Module) -> None:
    """Raise NotRecordableError where a recording would not train as the eager step does.

    `copy` is the model that was recorded, whose parameters and buffers are given; `apart` is the one that is trained,
    of which nothing may be a constant of the recording of a copy.
    """
    models = copy, apart
    own = {address for model in models for tensor in _tensors(model) for address in _address(tensor)}
    own |= {address for tensor in held(apart)[1] for address in _address(tensor)}
    for inner in [module, *_inner(module)]:
        for node in inner.graph.nodes:
            if node.op == "get_attr":
                _check_constant(node, getattr(inner, str(node.target)), own)
            elif node.op == "call_function":
                _check_rows(node)
                _check_writes(node)


def draws(module: fx.GraphModule) -> bool:
    """Whether anything in a recording draws random numbers."""
    return any(
        torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        for inner in [module, *_inner(module)]
        for node in inner.graph.nodes
    )


def check_memory(model: nn.Module) -> None:
    """Raise NotRecordableError where a trained parameter lies where another parameter or a buffer does (`.data`).

    Parameters that are one object under several names are one parameter, and none of this.
    """
    spans: list[tuple[Any, int, int, str, bool]] = []
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.layout == torch.strided and tensor.numel():
            last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
            end = tensor.data_ptr() + (last + 1) * tensor.element_size()
            spans.append((str(tensor.device), tensor.data_ptr(), end, name, tensor.requires_grad))
    reached: dict[bool, tuple[Any, int, int, str, bool]] = {}
    for span in sorted(spans):
        for before in reached.values():
            if before[0] == span[0] and span[1] < before[2] and (before[4] or span[4]):
                raise NotRecordableError(
                    f"{before[3]} and {span[3]} are different parameters or buffers in the same memory, which a "
                    "recording would tear apart: to tie them, assign the one parameter to both modules"
                )
        held = reached.get(span[4])
        if held is None or held[0] != span[0] or held[2] < span[2]:
            reached[span[4]] = span


def _check_constant(node: fx.Node, value: object, own: set[int]) -> None:
    if not isinstance(value, Tensor):
        return
    if value.requires_grad or own & set(_address(value)):
        raise NotRecordableError(
            f"it reads a parameter or buffer past the model that is trained{_where(node)}: by a function that holds "
            "the model itself (a lambda, a hook), or by an attribute that is a view of one"
        )


def _check_rows(node: fx.Node) -> None:
    if torch.Tag.dynamic_output_shape in getattr(node.target, "tags", ()) and node.target not in INDEXING:
        raise NotRecordableError(f"{_plain(node.target)} {AS_VALUES_SAY}")


def _check_writes(node: fx.Node) -> None:
    schema: Any = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return
    given = {argument.name: value for argument, value in zip(schema.arguments, node.args, strict=False)} | node.kwargs
    for argument in schema.arguments:
        if argument.alias_info is None or not argument.alias_info.is_write or argument.name not in given:
            continue
        value: Any = given[argument.name]
        for each in cast("list[Any]", value if isinstance(value, list | tuple) else [value]):
            if isinstance(each, fx.Node) and _source(each).op == "get_attr":
                raise NotRecordableError(
                    f"{_plain(node.target)} changes a tensor that is no buffer of the model{_where(node)}: register it "
                    "by register_buffer, and it is recorded"
                )


def _source(node: fx.Node) -> fx.Node:
    """The node whose memory a node's result is in."""
    while node.op == "call_function" and node.args and isinstance(node.args[0], fx.Node):
        schema: Any = getattr(node.target, "_schema", None)
        aliases = schema is not None and any(result.alias_info for result in schema.returns)
        if node.target is not operator.getitem and not aliases:
            break
        node = node.args[0]
    return node


def _inner(module: fx.GraphModule) -> Iterator[fx.GraphModule]:
    for inner in branches_of(module).values():
        yield inner
        yield from _inner(inner)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _address(tensor: Tensor) -> tuple[int, ...]:
    """Where a tensor's memory begins, if it has any."""
    if tensor.layout != torch.strided or not tensor.untyped_storage().nbytes():
        return ()
    return (tensor.untyped_storage().data_ptr(),)


def _is_mask(index: object) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _plain(operation: object) -> str:
    return str(operation).removeprefix("aten.").partition(".")[0]


def _where(node: fx.Node) -> str:
    module = module_of(node)
    return f" (in {module})" if module else ""
