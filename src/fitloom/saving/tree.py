# SPDX-License-Identifier: Apache-2.0
"""Where in a weights file the variables of each layer and optimizer stand: Keras 3's paths.

A path is made of attribute names: 'layers/dense_1' (the second Dense of a functional model), 'encoder/blocks/dense'.
Attributes are visited in alphabetical order, private ones last; what is met twice is stored at its first path.
"""
from fitloom.base import naming
from fitloom.layers import Layer
from fitloom.optimizers import Optimizer

_MOST_PATHS = 4     # to one object; a file by an older Keras may use another than the first


class Place:
    """An object with variables of its own, and the paths that lead to it."""

    def __init__(self, thing, path):
        self.thing, self.paths = thing, [path]

    @property
    def path(self):
        """The path under which it is saved."""
        return self.paths[0]


def places(root) -> list:
    """Return the Places of everything under `root` that has `save_own_variables`, in Keras's order."""
    found: dict = {}
    _visit(root, "", found, set())
    return list(found.values())


def _visit(thing, path, found, open_now):
    if id(thing) in open_now:
        return
    place = found.get(id(thing))
    if place is None:
        found[id(thing)] = Place(thing, path)
    elif path in place.paths or len(place.paths) >= _MOST_PATHS:
        return
    else:
        place.paths.append(path)
    open_now.add(id(thing))
    for name, child in _children(thing):
        _visit_child(child, f"{path}/{name}" if path else name, found, open_now)
    open_now.discard(id(thing))


def _visit_child(child, path, found, open_now):
    if isinstance(child, (Layer, Optimizer)):
        _visit(child, path, found, open_now)
    elif isinstance(child, (list, tuple, dict)) and id(child) not in open_now:
        open_now.add(id(child))
        used: dict = {}
        for item in list(child.values()) if isinstance(child, dict) else child:
            saveable = isinstance(item, (Layer, Optimizer))
            if saveable or isinstance(item, (list, tuple, dict)):
                name = naming.to_snake_case(type(item).__name__) if saveable else "container"
                count = used[name] = used.get(name, -1) + 1
                _visit_child(item, f"{path}/{name}_{count}" if count else f"{path}/{name}", found, open_now)
        open_now.discard(id(child))


def _children(thing):
    """Yield (name, attribute) in the order in which Keras visits them."""
    layers_first = _lists_its_layers(thing)
    if layers_first:
        yield "layers", thing.layers
    skipped = _skipped(thing)
    for name in sorted(dir(thing), key=lambda name: f"~{name}" if name.startswith("_") else name):
        if name in skipped:
            continue
        try:
            yield name, getattr(thing, name)
        except Exception:       # a property that does not apply
            continue


_of_the_base: dict = {}


def _skipped(thing):
    """Names that are no attributes of this very object: those of its base, and of our classes' inner workings."""
    base = Layer if isinstance(thing, Layer) else Optimizer
    if base not in _of_the_base:
        example = Layer() if base is Layer else Optimizer(1.0)
        _of_the_base[base] = frozenset(dir(example))
    names = _of_the_base[base]
    model = next((cls for cls in type(thing).__mro__
                  if cls.__name__ == "Model" and cls.__module__.startswith("fitloom.")), None)
    if model is None:
        return names
    if model not in _of_the_base:
        _of_the_base[model] = frozenset(dir(model)) - {"layers", "optimizer"}
    return names | _of_the_base[model] | {"_graph", "_stack", "operations", "_programs", "_compiled"} | (
        {"layers"} if _lists_its_layers(thing) else set())


def _lists_its_layers(thing):
    """Whether it is a functional or Sequential model, subclasses included."""
    return getattr(thing, "_graph", None) is not None or any(
        cls.__name__ == "Sequential" for cls in type(thing).__mro__)
