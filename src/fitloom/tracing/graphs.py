# SPDX-License-Identifier: Apache-2.0
"""What a traced function computes, as a list of operations: `ConcreteFunction.graph`."""
from typing import NamedTuple

import jax

from fitloom.engine import outside


class Node(NamedTuple):
    """One operation: its name, kind, the names of the nodes it reads, and what is known of its results."""

    name: str
    op: str
    input: list
    attr: dict

    def __str__(self):
        lines = [f'  name: "{self.name}"', f'  op: "{self.op}"', *(f'  input: "{name}"' for name in self.input),
                 *(f'  attr {{ key: "{key}" value: "{value}" }}' for key, value in self.attr.items())]
        return "\n".join(["node {", *lines, "}"])


class GraphDef:
    """The nodes of a graph, `node`; printed in the text form of protocol buffers."""

    def __init__(self, nodes):
        self.node = list(nodes)

    def __str__(self):
        return "\n".join(map(str, self.node)) + "\n"


class FunctionGraph:
    """The operations of one signature of a tf.function, in the order in which they run."""

    def __init__(self, name, instruction):
        self.name, self._instruction = name, instruction

    def as_graph_def(self):
        """Return the nodes: one for each operation of the traced program."""
        return GraphDef([] if self._instruction is None else nodes_of(self.name, self._instruction))

    def get_operations(self):
        """Return the nodes as a list."""
        return self.as_graph_def().node


def nodes_of(name, instruction):
    """Return the nodes of a traced function: one for each operation of its jaxpr."""
    inputs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in instruction.inputs]
    with outside():
        jaxpr = jax.make_jaxpr(instruction.fn)(*inputs).jaxpr
    producer, nodes = {}, []
    for i, variable in enumerate(jaxpr.invars):
        producer[variable] = f"{name}/input_{i}"
        nodes.append(Node(producer[variable], "Placeholder", [], {"shape": variable.aval.str_short()}))
    for i, equation in enumerate(jaxpr.eqns):
        node = f"{name}/{equation.primitive.name}_{i}"
        sources = [producer[v] for v in equation.invars if not hasattr(v, "val") and v in producer]
        nodes.append(Node(node, equation.primitive.name, list(dict.fromkeys(sources)),
                          {"shape": ", ".join(v.aval.str_short() for v in equation.outvars)}))
        producer.update((v, node) for v in equation.outvars)
    for i, variable in enumerate(jaxpr.outvars):
        if not hasattr(variable, "val") and variable in producer:
            nodes.append(Node(f"{name}/output_{i}", "Identity", [producer[variable]], {}))
    return nodes
