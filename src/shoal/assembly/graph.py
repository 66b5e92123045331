"""The graph of a model as TensorBoard draws it: its operations, under the modules that they belong to.

From `torch.export`, which leaves no warnings; torch's own writer traces with `torch.jit`, which is deprecated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shoal.assembly.event_file import proto
from shoal.assembly.hushed import FAILURES, cause, hushed
from shoal.errors import ExportError

PRODUCER = 22
"""The version of the format: the one that torch writes too."""

GraphDef = proto("compat.proto.graph_pb2").GraphDef
NodeDef = proto("compat.proto.node_def_pb2").NodeDef
AttrValue = proto("compat.proto.attr_value_pb2").AttrValue
TensorShapeProto = proto("compat.proto.tensor_shape_pb2").TensorShapeProto
VersionDef = proto("compat.proto.versions_pb2").VersionDef


def graph_of(model: nn.Module, inputs: Tensor) -> Any:
    """Return the graph of a model in eval mode on such inputs; raises ExportError where torch cannot follow it."""
    try:
        with hushed(), torch.no_grad():
            exported = torch.export.export(model, (inputs,))
    except FAILURES as error:
        raise ExportError(f"torch.export cannot follow the model: {cause(error)}.") from error
    kept = {**exported.graph_signature.inputs_to_parameters, **exported.graph_signature.inputs_to_buffers}
    names: dict[str, str] = {}
    definition = GraphDef(versions=VersionDef(producer=PRODUCER))
    for node in exported.graph.nodes:
        if node.op == "placeholder" and not node.users:  # counters of batch norms, in eval mode
            continue
        names[node.name] = _name(node, kept)
        definition.node.append(
            NodeDef(
                name=names[node.name],
                op=_operation(node, kept),
                input=[names[before.name] for before in node.all_input_nodes],
                attr=_attributes(node.meta.get("val")),
            )
        )
    return definition


def _name(node: Any, kept: Mapping[str, str]) -> str:
    """Where the node is drawn: slashes divide the modules around it."""
    if node.op == "output":
        return "outputs"
    if node.op == "placeholder":
        return kept[node.name].replace(".", "/") if node.name in kept else node.name
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = stack[-1][0] if stack else ""
    return f"{path.replace('.', '/')}/{node.name}" if path else node.name


def _operation(node: Any, kept: Mapping[str, str]) -> str:
    if node.op == "placeholder":
        return "Parameter" if node.name in kept else "Placeholder"
    return str(node.target) if node.op == "call_function" else node.op


def _attributes(value: object) -> dict[str, Any]:
    """The shape of what a node returns, where it is one tensor: it is written along the edges."""
    if not isinstance(value, Tensor):
        return {}
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=int(size)) for size in value.shape])
    return {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[shape]))}
