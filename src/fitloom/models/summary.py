# SPDX-License-Identifier: Apache-2.0
"""The table that `Model.summary()` prints; its text is Keras 3's."""
import math
import re
import shutil
import sys

import rich.console
import rich.markup
import rich.table

from fitloom.base import config, dtypes, nest
from fitloom.layers.call_signature import map_shapes
from fitloom.layers.layer_state import count_params

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def weight_bytes(weights) -> float:
    """Return the memory the variables take, each counted once."""
    return sum(math.prod(w.shape) * dtypes.numpy_dtype(w.dtype).itemsize for w in {id(w): w for w in weights}.values())


def readable_size(size_bytes) -> str:
    """Return a size such as '1.50 KB'."""
    for unit in _UNITS[:-1]:
        if size_bytes < 1024:
            return f"{size_bytes:.2f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.2f} {_UNITS[-1]}"


def _number(x):
    return f"[color({45 if x is None else 34})]{x}[/]"


def _bold(x, color=None):
    return f"[bold][color({color})]{x}[/][/]" if color else f"[bold]{x}[/]"


def _shape_text(shape):
    return f"({', '.join(_number(d) for d in shape)})"


def _output_shape(layer):
    """The text of a layer's output shape: from its last symbolic call, else from the shapes it was built with."""
    if layer._inbound_nodes:
        texts = [_shape_text(x.shape) for x in layer._inbound_nodes[-1].output_tensors]
    elif getattr(layer, "_build_shapes", None):
        try:
            shapes = layer.output_shape if hasattr(layer, "output_shape") else \
                layer.compute_output_shape(**layer._build_shapes)
            texts = map_shapes(_shape_text, shapes)
        except Exception:   # the layer cannot say; a summary is no place to fail
            return "?"
    else:
        return "?"
    flat = nest.flatten(texts)
    return flat[0] if len(flat) == 1 else str(texts).replace("'", "")


def _is_chain(model):
    """Whether the steps of a functional model follow each other without branches or shared layers."""
    nodes = []
    for at_depth in model._graph.nodes_by_depth.values():
        if len(at_depth) > 1 or len(at_depth[0].input_tensors) > 1:
            return False
        nodes += at_depth
    nodes = set(nodes)
    return all(sum(node in nodes for node in layer._inbound_nodes) <= 1 for layer in model.layers)


def print_summary(model, line_length=None, positions=None, print_fn=None, expand_nested=False, show_trainable=False,
                  layer_range=None):
    """Print a model's layers, output shapes and numbers of weights; see `Model.summary`.

    Raises:
        ValueError: a width too small for the columns, or a layer range that names no layers.
    """
    functional = getattr(model, "_is_functional", False)
    layers = model._graph.operations if functional else model.layers
    chain = not functional or _is_chain(model)
    if chain:
        width, positions, header = 88, positions or [0.45, 0.80, 1.0], ["Layer (type)", "Output Shape", "Param #"]
        alignment = ["left", "left", "right"]
    else:
        width, positions = 108, positions or [0.3, 0.56, 0.74, 1.0]
        header = ["Layer (type)", "Output Shape", "Param #", "Connected to"]
        alignment = ["left", "left", "right", "left"]
    if show_trainable:
        width, positions = width + 12, [p * 0.90 for p in positions] + [1.0]
        header.append("Trainable")
        alignment.append("center")
    line_length = line_length or min(width, shutil.get_terminal_size().columns - 4)
    table = rich.table.Table(width=line_length, show_lines=True)
    used = 0
    for name, justify, position in zip(header, alignment, positions):
        column = int(position * line_length) - used
        if column < 4:
            raise ValueError(f"Insufficient console width to print summary: line_length={line_length} leaves {column} "
                             f"characters for the column '{name}'.")
        table.add_column(name, justify=justify, width=column)
        used += column
    start, end = _range_of(layers, layer_range)
    for layer in layers[start:end]:
        for row in _rows(model, layer, 0, chain, expand_nested, show_trainable):
            table.add_row(*row)
    _print(model, table, print_fn)


def _rows(model, layer, level, chain, expand_nested, show_trainable):
    """The row of a layer, followed by those of the layers inside it."""
    prefix = "   " * level + "└ " if level else ""
    name = rich.markup.escape(prefix + layer.name)
    kind = rich.markup.escape(getattr(layer, "summary_name", None) or type(layer).__name__)
    weights = getattr(layer, "weights", ())
    if not getattr(layer, "built", True):
        parameters = f"{_number(0)} (unbuilt)"
    else:
        parameters = _number(f"{count_params(weights):,}")
    row = [f"{name} ([color(33)]{kind}[/])", _output_shape(layer), parameters]
    if not chain:
        row.append(_connections(model, layer))
    if show_trainable:
        row.append(_bold("-") if not len(weights) else _bold("Y", 34) if layer.trainable else _bold("N", 9))
    rows = [row]
    if expand_nested and getattr(layer, "layers", None):
        for inner in layer.layers:
            rows += _rows(model, inner, level + 1, chain, expand_nested, show_trainable)
    return rows


def _connections(model, layer):
    found = []
    for node in layer._inbound_nodes:
        if node in model._graph.nodes:
            for x in node.input_tensors:
                operation, index, position = x._keras_history
                found.append(f"{operation.name}[{_number(index)}][{_number(position)}]")
    return ", ".join(found) or "-"


def _print(model, table, print_fn):
    quiet = print_fn is not None or not config.is_interactive_logging_enabled()
    options = {"force_terminal": False, "color_system": None} if quiet else {}
    console = rich.console.Console(highlight=False, **options)
    if quiet:
        console.begin_capture()
    console.print(_bold(f'Model: "{rich.markup.escape(model.name)}"'))
    console.print(table)
    groups = [("Trainable", model.trainable_weights), ("Non-trainable", model.non_trainable_weights)]
    optimizer = getattr(model, "optimizer", None)
    if getattr(model, "compiled", False) and optimizer is not None and getattr(optimizer, "built", False):
        groups.append(("Optimizer", optimizer.variables))
    totals = [("Total", sum(count_params(w) for _, w in groups), sum(weight_bytes(w) for _, w in groups))]
    totals += [(name, count_params(w), weight_bytes(w)) for name, w in groups]
    for name, count, size in totals:
        console.print(_bold(f" {name} params: ") + _number(f"{count:,}") + f" ({readable_size(size)})")
    if quiet:
        text = console.end_capture()
        if print_fn is not None:
            print_fn(text)
        else:
            sys.stdout.write(text)


def _range_of(layers, layer_range):
    """The positions that `layer_range`, a pair of names or patterns, stands for."""
    if layer_range is None:
        return 0, len(layers)
    if len(layer_range) != 2 or not all(isinstance(name, str) for name in layer_range):
        raise ValueError(f"layer_range must be a list or tuple of two strings. Received: layer_range={layer_range}")
    lower, upper = ([i for i, layer in enumerate(layers) if re.match(pattern, layer.name)] for pattern in layer_range)
    if not lower or not upper:
        raise ValueError("Passed layer_names do not match the layer names in the model. "
                         f"Received: {layer_range}; the layers are {[layer.name for layer in layers]}.")
    if min(lower) > max(upper):
        return min(upper), max(lower) + 1
    return min(lower), max(upper) + 1
