# SPDX-License-Identifier: Apache-2.0
"""The functional graph: which operation made a symbolic tensor from which others, and how to run it again."""
import collections
import copy
import inspect

from fitloom import engine
from fitloom.base import naming, nest, registry, serialization
from fitloom.base.errors import unknown_name
from fitloom.engine.symbolic import KerasTensor

KerasHistory = collections.namedtuple("KerasHistory", ["operation", "node_index", "tensor_index"])
_PLAIN = (str, int, float, bool, type(None))


class _ShapeOf:
    """The shape or shapes of an operation's symbolic `input` or `output`."""

    def __init__(self, what):
        self.what = what

    def __get__(self, operation, owner):
        if operation is None:
            return self
        values = getattr(operation, self.what)
        return [tuple(x.shape) for x in values] if isinstance(values, list) else tuple(values.shape)


class Operation:
    """What can stand in a graph: layers, models, and single operations on symbolic tensors.

    Args:
        name: unique name without '/'; by default made from the class name.
    """

    def __new__(cls, *args, **kwargs):
        instance = object.__new__(cls)
        # The constructor's arguments, if plain data: `get_config` can then answer for classes that have none.
        plain = all(isinstance(leaf, _PLAIN) for leaf in nest.flatten((args, kwargs)))
        instance.__dict__["_init_arguments"] = (args, kwargs) if plain else None
        return instance

    def __init__(self, name=None):
        if name is None:
            name = naming.unique_name(naming.to_snake_case(type(self).__name__))
        if not isinstance(name, str) or "/" in name:
            raise ValueError(f"Argument `name` must be a string and cannot contain character `/`. "
                             f"Received: name={name} (of type {type(name)})")
        self.name = name
        self._inbound_nodes = []
        self._outbound_nodes = []

    def _add_node(self, args, kwargs, outputs):
        Node(self, args, kwargs, outputs)

    def _node_attribute(self, attribute, what):
        if not self._inbound_nodes:
            raise AttributeError(f"The layer {self.name} has never been called and thus has no defined {what}.")
        values = getattr(self._inbound_nodes[0], attribute)
        return values[0] if len(values) == 1 else values

    @property
    def input(self):
        """The symbolic input(s) of the first call; Raises AttributeError before there was one."""
        return self._node_attribute("input_tensors", "input")

    @property
    def output(self):
        """The symbolic output(s) of the first call; Raises AttributeError before there was one."""
        return self._node_attribute("output_tensors", "output")

    # Keras 2's; an attribute of the instance or of a subclass that has this name goes first.
    input_shape, output_shape = _ShapeOf("input"), _ShapeOf("output")

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {"name": self.name}

    def _config_from_arguments(self, common=None):
        """The configuration of a class that defines no `get_config`, from the arguments it was made with.

        `common` holds what every layer has ('name', 'dtype', ...); the constructor gets back what it takes.
        """
        signature = inspect.signature(type(self).__init__)
        parameters = signature.parameters
        bound = None if self._init_arguments is None else \
            signature.bind(None, *self._init_arguments[0], **self._init_arguments[1])
        if bound is not None and not any(
                p.kind is p.POSITIONAL_ONLY or p.kind is p.VAR_POSITIONAL and bound.arguments.get(p.name)
                for p in list(parameters.values())[1:]):
            bound.apply_defaults()
            config = {name: value for name, value in list(bound.arguments.items())[1:]
                      if parameters[name].kind is not inspect.Parameter.VAR_POSITIONAL}    # empty: `*args` took nothing
            takes_all = False
            for parameter in parameters.values():
                if parameter.kind is parameter.VAR_KEYWORD:
                    config.update(config.pop(parameter.name, {}))
                    takes_all = True
            common = {"name": self.name} if common is None else common
            config.update({name: value for name, value in common.items() if takes_all or name in parameters})
            return copy.deepcopy(config)
        raise NotImplementedError(
            f"{type(self).__name__} '{self.name}' was made with arguments that are not plain data (numbers, strings, "
            "None, lists and dicts of these), so it must define get_config() to be saved or cloned:\n"
            "    def get_config(self):\n"
            "        return {**super().get_config(), 'units': self.units}")

    @classmethod
    def from_config(cls, config):
        """Make an object from `get_config`'s dict."""
        try:
            return cls(**config)
        except Exception as error:
            raise TypeError(f"Error when deserializing class '{cls.__name__}' using config={config}.\n\n"
                            f"Exception encountered: {error}") from error

    def __repr__(self):
        return f"<Operation name={self.name}>"


class Node:
    """One call of an operation on symbolic tensors.

    Attributes:
        operation: what was called.
        args, kwargs: its arguments, with symbolic tensors inside.
        input_tensors, output_tensors: flat lists of the symbolic tensors.
        is_input: whether it starts a graph (it has no symbolic inputs).
    """

    def __init__(self, operation, args, kwargs, outputs):
        self.operation, self.args, self.kwargs = operation, args, kwargs
        self.input_tensors = [x for x in nest.flatten((args, kwargs)) if isinstance(x, KerasTensor)]
        self.output_tensors = self.outputs = nest.flatten(outputs)
        for x in self.outputs:
            if not isinstance(x, KerasTensor):
                raise ValueError(f"All operation outputs must be tensors. {operation} returned {x!r} "
                                 f"(of type {type(x).__name__}).")
        self.is_input = not self.input_tensors
        index = len(operation._inbound_nodes)
        operation._inbound_nodes.append(self)
        for x in self.input_tensors:
            history = getattr(x, "_keras_history", None)
            if history is None:
                x._keras_history = KerasHistory(None, 0, 0)
            elif history.operation is not None:
                history.operation._outbound_nodes.append(self)
        for position, x in enumerate(self.outputs):
            x._keras_history = KerasHistory(operation, index, position)

    @property
    def parent_nodes(self):
        """The nodes that made this node's inputs."""
        return [h.operation._inbound_nodes[h.node_index] for h in (x._keras_history for x in self.input_tensors)
                if h.operation is not None]

    def fill_in(self, values):
        """Return (args, kwargs) with each symbolic tensor replaced by `values[id(tensor)]`."""
        if len(self.args) == 1 and not self.kwargs and isinstance(self.args[0], KerasTensor):
            return (values[id(self.args[0])],), {}

        def switch(x):
            return values.get(id(x)) if isinstance(x, KerasTensor) else x
        return nest.map_structure(switch, self.args), nest.map_structure(switch, self.kwargs)

    def __repr__(self):
        return f"<Node operation={self.operation.name}, id={id(self)}>"


@registry.builtin("keras.ops")
class OpNode(Operation):
    """A single operation of the table (`tf.add`, `ops.relu`, ...) as a step of a graph.

    Args:
        op: the operation, or its key in the table.
        attributes: its static attributes.
        name: unique name of the step.
    """

    built = trainable = True
    trainable_weights = non_trainable_weights = weights = variables = losses = metrics = ()

    def __init__(self, op, attributes=None, name=None):
        if isinstance(op, str):
            if op not in engine.symbolic.TABLE:
                raise unknown_name("operation", op, engine.symbolic.TABLE)
            op = engine.symbolic.TABLE[op]
        self.op = op
        self.attributes = dict(attributes or {})
        super().__init__(name or naming.unique_name(naming.to_snake_case(op.name)))

    @property
    def summary_name(self):
        """What stands as the type in `summary()`: 'ReduceMean' for reduce_mean."""
        return "".join(part.capitalize() for part in self.op.name.split("_"))

    def __call__(self, *args):
        if not is_symbolic(args):
            return self.op(*args, **self.attributes)
        outputs = self.compute_output_spec(*args)
        self._add_node(args, {}, outputs)
        return outputs

    call = __call__

    def compute_output_spec(self, *args):
        """Return the KerasTensor(s) that the operation gives for these inputs."""
        return engine.abstract_op(self.op, args, self.attributes)

    def get_config(self):
        """Return the operation's key and its attributes."""
        return {"name": self.name, "op": self.op.key, "attributes": copy.deepcopy(self.attributes)}

    @classmethod
    def from_config(cls, config):
        """Make the step from `get_config`'s dict."""
        return cls(config["op"], serialization.deserialize_keras_object(config["attributes"]), config.get("name"))


def record_op(op, args, attributes):
    """Add a node for an operation that was called with symbolic tensors; return its symbolic result."""
    return OpNode(op, attributes)(*args)


def is_symbolic(structure) -> bool:
    """Whether a KerasTensor stands anywhere in the structure."""
    return any(isinstance(x, KerasTensor) for x in nest.flatten(structure))


def get_source_inputs(tensor):
    """Return the list of the Input tensors that `tensor` was computed from."""
    sources, todo, seen = [], [tensor], set()
    while todo:
        x = todo.pop(0)
        if id(x) in seen:
            continue
        seen.add(id(x))
        history = getattr(x, "_keras_history", None)
        node = history and history.operation and history.operation._inbound_nodes[history.node_index]
        if not node or node.is_input:
            sources.append(x)
        else:
            todo[:0] = node.input_tensors
    return sources


def walk(inputs, outputs):
    """Return (nodes, inputs before users; {operation: order in which the walk from the outputs met it})."""
    given = {id(x) for x in inputs}
    finished, in_progress, ordered, indices = set(), set(), [], {}

    def enter(tensor):
        history = getattr(tensor, "_keras_history", None)
        if history is None or history.operation is None:
            return None
        node = history.operation._inbound_nodes[history.node_index]
        if node in finished:
            return None
        if not node.is_input and id(tensor) in given:
            finished.add(node)   # what lies before an input is outside the graph
            return None
        if node in in_progress:
            raise ValueError(f"Tensor {tensor} from operation '{history.operation.name}' is part of a cycle.")
        indices.setdefault(history.operation, len(indices))
        in_progress.add(node)
        return node, iter(node.input_tensors)

    for output in outputs:
        stack = [entered] if (entered := enter(output)) else []
        while stack:
            node, pending = stack[-1]
            for tensor in pending:
                entered = enter(tensor)
                if entered:
                    stack.append(entered)
                    break
            else:
                stack.pop()
                in_progress.discard(node)
                finished.add(node)
                ordered.append(node)
    return ordered, indices


class Graph:
    """The steps between some symbolic inputs and outputs, in running order.

    Args:
        inputs: symbolic tensor or structure of them.
        outputs: what is to be computed from the inputs.

    Raises:
        ValueError: nothing given, an output that cannot be computed from the inputs, or a name used twice.
    """

    def __init__(self, inputs, outputs):
        self.inputs_structure = nest.map_structure(lambda x: x, inputs)
        self.outputs_structure = nest.map_structure(lambda x: x, outputs)
        self.inputs, self.outputs = nest.flatten(inputs), nest.flatten(outputs)
        for what, given in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not given:
                raise ValueError(f"`{what}` argument cannot be empty. Received:\ninputs={inputs}\noutputs={outputs}")
        self._sort()
        self._check()
        self.steps = [node for depth in sorted(self.nodes_by_depth, reverse=True)
                      for node in self.nodes_by_depth[depth] if not node.is_input]

    def _sort(self):
        ordered, indices = walk(self.inputs, self.outputs)
        in_graph = set(ordered)
        node_depth, operation_depth = {}, {}
        for node in reversed(ordered):
            depth = max(node_depth.get(node, 0), operation_depth.get(node.operation, 0))
            node_depth.setdefault(node, depth)
            operation_depth[node.operation] = node_depth[node] = depth
            for parent in node.parent_nodes:
                if parent in in_graph:
                    node_depth[parent] = max(depth + 1, node_depth.get(parent, 0))
        for x in self.inputs:   # inputs that no output uses still belong to the model
            operation, index, _ = x._keras_history
            if operation is not None and operation not in operation_depth:
                node = operation._inbound_nodes[index]
                if node.is_input:
                    operation_depth[operation], indices[operation], node_depth[node] = 0, -1, 0
        self.nodes = set(node_depth)
        self.nodes_by_depth = collections.defaultdict(list)
        for node, depth in node_depth.items():
            self.nodes_by_depth[depth].append(node)
        self.operations = sorted(operation_depth, key=lambda o: (-operation_depth[o], indices[o]))

    def _check(self):
        known, lacking = {id(x) for x in self.inputs}, {}
        for depth in sorted(self.nodes_by_depth, reverse=True):
            for node in self.nodes_by_depth[depth]:
                missing = [x for x in node.input_tensors if id(x) not in known]
                if missing:
                    lacking.update({id(x): lacking.get(id(missing[0]), (missing[0], node)) for x in node.outputs})
                elif not node.is_input:
                    known.update(id(x) for x in node.outputs)
        for path, x in nest.flatten_with_paths(self.outputs_structure):
            if id(x) not in known:
                missing, node = lacking.get(id(x), (x, None))
                raise ValueError(
                    f"Output with path `{'.'.join(str(p) for p in path)}` is not connected to `inputs`. Graph "
                    f"disconnected: cannot find parent for tensor {missing}"
                    f"{f' at operation {node.operation.name!r}' if node else ''}: it does not come from the given "
                    f"inputs {[i.name for i in self.inputs]}.")
        counts = collections.Counter(operation.name for operation in self.operations)
        for name, count in counts.items():
            if count > 1:
                raise ValueError(f'The name "{name}" is used {count} times in the model. '
                                 "All operation names should be unique.")

    def run(self, flat_inputs, call=None):
        """Compute the outputs for a flat list of input values; `call(operation, args, kwargs)` runs one step."""
        values = {id(x): value for x, value in zip(self.inputs, flat_inputs)}
        for node in self.steps:
            args, kwargs = node.fill_in(values)
            results = node.operation(*args, **kwargs) if call is None else call(node.operation, args, kwargs)
            if len(node.outputs) == 1 and not nest.is_nested(results):
                values[id(node.outputs[0])] = results
            else:
                for x, result in zip(node.outputs, nest.flatten(results)):
                    values[id(x)] = result
        return nest.pack_sequence_as(self.outputs_structure, [values[id(x)] for x in self.outputs])


@registry.builtin("keras")
class Function(Operation):
    """A stateless function made of the steps between symbolic inputs and outputs.

    Args:
        inputs: symbolic tensor, or structure of them.
        outputs: symbolic tensor, or structure of them.
        name: name of the function.

    Example:
        >>> import fitloom as tf
        >>> x = tf.keras.KerasTensor((None, 2))
        >>> f = tf.keras.Function(x, x * 2.0)
        >>> f(tf.ones((1, 2))).shape
        TensorShape([1, 2])
    """

    def __init__(self, inputs, outputs, name=None):
        super().__init__(name)
        for x in nest.flatten(inputs):
            if getattr(x, "_keras_history", None) is None:
                x._keras_history = KerasHistory(None, 0, 0)
        self._graph = Graph(inputs, outputs)

    inputs = property(lambda self: self._graph.inputs)
    outputs = property(lambda self: self._graph.outputs)
    operations = property(lambda self: self._graph.operations[:])

    def __call__(self, inputs):
        nest.assert_same_structure(inputs, self._graph.inputs_structure, check_types=False)
        if is_symbolic(inputs):
            outputs = self.compute_output_spec(inputs)
            self._add_node((inputs,), {}, outputs)
            return outputs
        return self._graph.run(nest.flatten(inputs))

    call = __call__

    def compute_output_spec(self, inputs):
        """Return the symbolic outputs for symbolic inputs."""
        return self._graph.run(nest.flatten(inputs), lambda o, a, k: o.compute_output_spec(*a, **k))


engine.install_hook(record_op)
