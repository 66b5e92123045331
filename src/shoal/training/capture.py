"""Recording a functional step as a graph of plain tensor operations, and replaying it.

A recorded step has no autograd, no module calls and no Python of the user's in it. Recording runs the step once on
clones; what depends on more than the tensors that are given (a branch on a value, a counter of Python's) is refused, or
found out by `recorded.RecordedStep`, which compares two recordings and tries the replay against the eager step. A
branch written with `torch.cond` is one operation of the graph, with a graph of its own for either branch (`branches`).

Placeholders are the state's tensors in a fixed order, then inputs, targets, index and the hypers. The state never moves
in memory, so views of it are made once, when the graph is bound to it, and not at every step.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from shoal.training.branches import COND, branches_of, taken
from shoal.training.phases import noted
from shoal.training.program import Program, State
from shoal.training.recordable import NoAsking

ATEN = torch.ops.aten
VIEWS: frozenset[Any] = frozenset(
    {
        ATEN.t.default,
        ATEN.transpose.int,
        ATEN.permute.default,
        ATEN.view.default,
        ATEN._unsafe_view.default,
        ATEN.split.Tensor,
        ATEN.split_with_sizes.default,
        ATEN.slice.Tensor,
        ATEN.select.int,
        ATEN.unsqueeze.default,
        ATEN.squeeze.dim,
        ATEN.squeeze.default,
        ATEN.expand.default,
        ATEN.as_strided.default,
        ATEN.alias.default,
        ATEN.detach.default,
        operator.getitem,
    }
)
"""Operations that only look at memory in another way: of the state, which stays where it is, they are done once."""


FUNCTIONS = frozenset(
    [
        "add",
        "sub",
        "mul",
        "div",
        "mm",
        "bmm",
        "addmm",
        "baddbmm",
        "relu",
        "sum",
        "mean",
        "argmax",
        "eq",
        "ne",
        "gt",
        "lt",
        "where",
        "lerp",
        "maximum",
        "minimum",
        "neg",
        "exp",
        "log",
        "sqrt",
        "rsqrt",
        "tanh",
        "sigmoid",
        "pow",
        "cat",
        "t",
        "_softmax",
        "_log_softmax",
        "native_layer_norm",
        "native_batch_norm",
        "convolution",
    ]
)
METHODS = frozenset(
    ["add_", "sub_", "mul_", "div_", "copy_", "lerp_", "ne_", "addcmul_", "addcdiv_", "zero_", "view", "expand"]
)
"""Operations that are called as torch's own functions and methods, which take the same arguments."""


def flat(state: State) -> list[Tensor]:
    """Return the tensors of a state in the order of a graph's placeholders."""
    return [tensor for tree in state.values() for tensor in tree.values()]


def shaped(like: State, tensors: Sequence[Tensor]) -> State:
    """Return tensors as a state with the names of another."""
    rest = iter(tensors)
    return {group: {name: next(rest) for name in tree} for group, tree in like.items()}


def record(program: Program, state: State, batch: Sequence[Tensor], hyper: Sequence[Tensor]) -> fx.GraphModule:
    """Return the graph of one step; `state` is written to, so pass clones."""
    count = len(flat(state))

    def step(*tensors: Tensor) -> None:
        inputs, targets, index = tensors[count : count + 3]
        program(shaped(state, tensors[:count]), inputs, targets, index, tensors[count + 3 :])

    with noted(program.model), NoAsking():
        graph = make_fx(step)(*flat(state), *batch, *hyper)
    return simplified(graph)


def simplified(module: fx.GraphModule) -> fx.GraphModule:
    """Take out what only autograd needed: `detach`, and matrices that are transposed twice."""
    graph = module.graph
    for inner in branches_of(module).values():
        simplified(inner)
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is ATEN.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is ATEN.t.default:
            before = node.args[0]
            if before.op == "call_function" and before.target is ATEN.t.default:
                node.replace_all_uses_with(before.args[0])
    graph.eliminate_dead_code()
    module.recompile()
    return module


def bound(module: fx.GraphModule, state: State) -> Callable[..., Any]:
    """Return a function of (inputs, targets, index, *hyper) that replays a graph on a state, which must not move."""
    tensors = flat(state)
    module = fx.GraphModule(module, _copied(module.graph))
    graph, known = module.graph, dict[fx.Node, Any]()
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    known.update(zip(placeholders, tensors, strict=False))
    for node in lasting(module, len(tensors)):
        arguments: Any = map_arg((node.args, node.kwargs), known.__getitem__)
        call: Any = node.target
        known[node] = call(*arguments[0], **arguments[1])
    outer = [
        node
        for node in known
        if isinstance(known[node], Tensor)
        and (node.op == "placeholder" or any(user not in known for user in node.users))
    ]
    views = [node for node in outer if node.op != "placeholder"]
    with graph.inserting_before(placeholders[0]):
        for number, node in enumerate(views):
            extra = graph.placeholder(f"view_of_state_{number}")
            node.replace_all_uses_with(extra)
    graph.eliminate_dead_code()
    _call_directly(module)
    graph.lint()
    fixed = [*(known[node] for node in views), *tensors]
    forward = module.forward

    def replay(*rest: Tensor) -> None:
        forward(*fixed, *rest)

    return replay


def lasting(module: fx.GraphModule, count: int) -> list[fx.Node]:
    """Return the operations whose result is the same at every step, in order; the first `count` inputs are the state.

    They are done once, when a graph is bound, and are no part of a replay.
    """
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    found = dict.fromkeys(placeholders[:count])
    for node in module.graph.nodes:
        if node.op == "call_function" and _lasts(node) and all(before in found for before in node.all_input_nodes):
            found[node] = None
    return [node for node in found if node.op == "call_function"]


def _lasts(node: fx.Node) -> bool:
    """Whether what a node returns is the same at every step: a view of the state, a constant nobody writes to."""
    if node.target in VIEWS:
        return bool(node.all_input_nodes)
    return node.target is ATEN.full.default and not _is_written(node)


def _is_written(node: fx.Node) -> bool:
    """Whether anything may write to what a node returns, or to a view of it."""
    for user in node.users:
        schema: Any = getattr(user.target, "_schema", None)
        if user.op == "output":
            continue
        if schema is None:
            if user.target is not operator.getitem or _is_written(user):
                return True
        elif schema.is_mutable or (any(result.alias_info for result in schema.returns) and _is_written(user)):
            return True
    return False


def _call_directly(module: fx.GraphModule) -> None:
    """Let a module's operations, and those of copies of its branches, be called by the shortest way."""
    for node in module.graph.nodes:
        if node.op == "call_function":
            node.target = direct(node.target)
    for name, inner in branches_of(module).items():
        own = fx.GraphModule(inner, _copied(inner.graph))
        _call_directly(own)
        setattr(module, name, own)
    module.recompile()


def direct(target: Any) -> Any:
    """The function by which Python calls an operation itself: the dispatcher's own door costs a microsecond more."""
    if target is COND:
        return taken
    schema: Any = getattr(target, "_schema", None)
    if not isinstance(target, OpOverload) or not schema.name.startswith("aten::"):
        return cast(Any, target)
    name = schema.name.removeprefix("aten::")
    if name in FUNCTIONS:
        return getattr(torch, name)
    if name in METHODS:
        return getattr(Tensor, name)
    return cast(Any, target)


def _copied(graph: fx.Graph) -> fx.Graph:
    other = fx.Graph()
    other.output(other.graph_copy(graph, {}))
    return other


def text(module: fx.GraphModule) -> str:
    """Return a recording as text, to be compared with another: its operations, branches, and digests of constants."""
    held = {str(node.target): getattr(module, str(node.target)) for node in module.graph.nodes if node.op == "get_attr"}
    inner = [f"{name} {text(it) if isinstance(it, fx.GraphModule) else _digest(it)}" for name, it in held.items()]
    return "\n".join([module.code, *inner])


def _digest(value: Any) -> str:
    """What tells a constant from another: its type, shape and bytes."""
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        return repr(value)
    plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1).view(torch.uint8)
    return f"{value.dtype} {list(value.shape)} {hashlib.sha256(plain.numpy().data).hexdigest()}"
