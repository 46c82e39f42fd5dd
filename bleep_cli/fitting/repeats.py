"""What a graph computes twice, computed once: two models in one graph may share weights and their first layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bleep_cli.fitting.onnx_file import onnx_package

if TYPE_CHECKING:
    import onnx

DRAWN = ("Random", "Bernoulli", "Multinomial", "Dropout")  # operators that do not give the same twice


def without_repeats(graph: onnx.GraphProto) -> None:
    """Leaves out, in place, equal constants and nodes that do the same with the same; what it gives stays, to the
    last bit. A graph with further graphs inside, which may name its values, stays as it is."""
    package = onnx_package()
    if any(attribute.type == package.AttributeProto.GRAPH for node in graph.node for attribute in node.attribute):
        return
    known: dict[tuple[object, ...], list[str]] = {}
    stands_for: dict[str, str] = {}
    constants, nodes = [], []
    for tensor in graph.initializer:
        values = package.numpy_helper.to_array(tensor)
        first = known.setdefault((tensor.data_type, values.shape, values.tobytes()), [tensor.name])
        stands_for[tensor.name] = first[0]
        constants += [tensor] if first[0] == tensor.name else []
    given = {value.name for value in graph.output}
    for node in graph.node:
        node.input[:] = [stands_for.get(name, name) for name in node.input]
        if not given & set(node.output):
            if node.op_type == "Identity" or (node.op_type == "Split" and len(node.output) == 1):
                stands_for[node.output[0]] = node.input[0]
                continue
            first = list(node.output)
            if not node.op_type.startswith(DRAWN):
                first = known.setdefault(_does(node), first)
            stands_for.update(zip(node.output, first, strict=True))
            if first[0] != node.output[0]:
                continue
        nodes.append(node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(constants)
    graph.node.extend(nodes)


def _does(node: onnx.NodeProto) -> tuple[object, ...]:
    """What a node does with what: equal for two that give the same."""
    settings = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    return node.domain, node.op_type, tuple(node.input), tuple(settings), len(node.output)
