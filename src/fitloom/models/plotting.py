# SPDX-License-Identifier: Apache-2.0
"""`plot_model`: a model's graph as a picture, drawn by Graphviz (an extra: `pip install pydot`, and Graphviz)."""
import os

from fitloom.models.model import Model
from fitloom.models.sequential import Sequential


def _pydot():
    try:
        import pydot
    except ImportError:
        raise ImportError("plot_model needs the package pydot and the program Graphviz. Install them: "
                          "pip install pydot, and https://graphviz.org/download/.") from None
    return pydot


def model_to_dot(model, show_shapes=False, show_dtype=False, show_layer_names=True, rankdir="TB", expand_nested=False,
                 dpi=200, subgraph=False, show_layer_activations=False, show_trainable=False, **kwargs):
    """Return a model as a pydot graph (`pydot.Dot`, or `pydot.Cluster` with `subgraph=True`).

    Args:
        model: a built model.
        show_shapes: show the layers' input and output shapes.
        show_dtype: show the layers' dtypes.
        show_layer_names: show the layers' names.
        rankdir: 'TB' for top to bottom, 'LR' for left to right.
        expand_nested: draw nested models as groups of their layers.
        dpi: dots per inch.
        subgraph: return a cluster to be put into another graph.
        show_layer_activations: show the layers' activation functions.
        show_trainable: show whether layers are trainable.

    Raises:
        ImportError: pydot is not installed.
        ValueError: the model is not built.
    """
    kwargs.pop("layer_range", None)
    if kwargs:
        raise ValueError(f"Unrecognized keyword arguments: {kwargs}")
    pydot = _pydot()
    if not model.built:
        raise ValueError("This model has not yet been built. Build the model first by calling `build()` or by calling "
                         "the model on a batch of data.")
    shows = {"shapes": show_shapes, "dtype": show_dtype, "names": show_layer_names,
             "activations": show_layer_activations, "trainable": show_trainable}
    if subgraph:
        dot = pydot.Cluster(style="dashed", graph_name=str(id(model)))
        dot.set("label", model.name)
    else:
        dot = pydot.Dot()
        dot.set("rankdir", rankdir)
        dot.set("concentrate", True)
        dot.set("dpi", dpi)
        dot.set("splines", "ortho")
        dot.set_node_defaults(shape="record")
    steps = model._graph.operations if model._is_functional else (
        model._stack if isinstance(model, Sequential) else model.layers)
    for step in steps:
        if expand_nested and _opens(step):
            dot.add_subgraph(model_to_dot(step, show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, dpi,
                                          True, show_layer_activations, show_trainable))
        else:
            dot.add_node(pydot.Node(str(id(step)), label=_label(step, shows), shape="plaintext"))
    for source, target in _edges(model, steps):
        start = _last(source) if expand_nested and _opens(source) else source
        end = _first(target) if expand_nested and _opens(target) else target
        dot.add_edge(pydot.Edge(str(id(start)), str(id(end))))
    return dot


def _opens(step):
    return isinstance(step, Model) and (step._is_functional or (isinstance(step, Sequential) and bool(step.layers)))


def _first(model):
    step = model._stack[0] if isinstance(model, Sequential) else model._graph.operations[0]
    return _first(step) if _opens(step) else step


def _last(model):
    step = model._stack[-1] if isinstance(model, Sequential) else model._graph.outputs[0]._keras_history.operation
    return _last(step) if _opens(step) else step


def _edges(model, steps):
    if not model._is_functional:
        return list(zip(steps, steps[1:])) if isinstance(model, Sequential) else []
    return list(dict.fromkeys((x._keras_history.operation, node.operation) for node in model._graph.steps
                              for x in node.input_tensors))


def _label(step, shows):
    """An HTML-like label: the name and class, then a row of what else was asked for."""
    kind = getattr(step, "summary_name", None) or type(step).__name__
    title = f"<b>{step.name}</b> ({kind})" if shows["names"] else f"<b>{kind}</b>"
    cells = []
    activation = getattr(step, "activation", None)
    if shows["activations"] and activation is not None:
        cells.append(f"Activation: <b>{getattr(activation, '__name__', activation)}</b>")
    node = step._inbound_nodes[-1] if step._inbound_nodes else None
    if shows["shapes"] and node is not None:
        if node.input_tensors:
            cells.append(f"Input shape: <b>{_shapes(node.input_tensors)}</b>")
        cells.append(f"Output shape: <b>{_shapes(node.output_tensors)}</b>")
    if shows["dtype"] and node is not None:
        cells.append(f"Output dtype: <b>{', '.join(str(x.dtype) for x in node.output_tensors)}</b>")
    if shows["trainable"] and len(getattr(step, "weights", ())):
        cells.append("Trainable" if step.trainable else "Non-trainable")
    rows = [f'<tr><td colspan="{max(1, len(cells))}" bgcolor="black"><font color="white">{title}</font></td></tr>']
    if cells:
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f'<<table border="0" cellborder="1" bgcolor="white" cellpadding="10">{"".join(rows)}</table>>'


def _shapes(tensors):
    return ", ".join(str(x.shape) for x in tensors)


def plot_model(model, to_file="model.png", show_shapes=False, show_dtype=False, show_layer_names=False, rankdir="TB",
               expand_nested=False, dpi=200, show_layer_activations=False, show_trainable=False, **kwargs):
    """Write a picture of a model's graph; see `model_to_dot` for the arguments.

    Args:
        to_file: path whose ending says the format; None writes nothing.

    Raises:
        ImportError: pydot or Graphviz is missing.
    """
    dot = model_to_dot(model, show_shapes=show_shapes, show_dtype=show_dtype, show_layer_names=show_layer_names,
                       rankdir=rankdir, expand_nested=expand_nested, dpi=dpi,
                       show_layer_activations=show_layer_activations, show_trainable=show_trainable, **kwargs)
    if to_file is None:
        return dot
    extension = os.path.splitext(str(to_file))[1].lstrip(".") or "png"
    if extension == "dot":
        dot.write(str(to_file), format="raw")
        return None
    try:
        dot.write(str(to_file), format=extension)
    except FileNotFoundError:
        raise ImportError("plot_model found pydot, but not the program `dot` of Graphviz. "
                          "Install it: https://graphviz.org/download/.") from None
    return None
