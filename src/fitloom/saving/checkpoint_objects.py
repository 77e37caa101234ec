# SPDX-License-Identifier: Apache-2.0
"""The graph of objects that a checkpoint stores: named edges from an object to what it holds."""
from fitloom import engine
from fitloom.data.iterators import _Base as DataIterator
from fitloom.ops.lookup_tables import MutableHashTable

# how layers, models and optimizers keep house: what these hold is found under its attribute's name, or below
_INTERNAL = frozenset("""_variables _told_when_completed _trainable_variables _non_trainable_variables
    _layers _metrics _seed_generators _tracked_ids
    _inbound_nodes _outbound_nodes _losses _collected _programs _replay _plain _known_outputs _signature _callbacks
    _source _compiled _compile_loss _compile_metrics _loss_tracker history _graph _stack _own_children
    train_function test_function predict_function""".split())

VALUE, ITERATOR, TABLE = "VARIABLE_VALUE", "ITERATOR_STATE", "table"


def is_variable(thing) -> bool:
    """Whether `thing` is a tf.Variable or keras.Variable."""
    return getattr(type(thing), "is_variable", False) is True


def is_optimizer(thing) -> bool:
    """Whether `thing` is an optimizer: its state is a list of variables."""
    return hasattr(type(thing), "apply_gradients") and hasattr(thing, "variables")


def kind_of(thing):
    """Return the kind of value stored of an object itself, or None for those that only hold others."""
    if is_variable(thing):
        return VALUE
    return ITERATOR if isinstance(thing, DataIterator) else TABLE if isinstance(thing, MutableHashTable) else None


def is_trackable(thing) -> bool:
    """Whether a checkpoint can store `thing` or something that it holds."""
    kind = type(thing)
    return (is_variable(thing) or isinstance(thing, (engine.Module, DataIterator, MutableHashTable))
            or is_optimizer(thing) or isinstance(getattr(kind, "_tracked_as", None), str)
            or hasattr(kind, "_checkpoint_children")
            or (kind.__name__ == "Generator" and is_variable(getattr(thing, "state", None))))


def _holds(value, depth=8):
    """Whether a list, tuple or dict holds a trackable; an empty list or dict may do so later."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return False
    return depth > 0 and any(is_trackable(item) or _holds(item, depth - 1) for item in value)


def children(thing) -> dict:
    """Return what an object holds, by the names of the edges."""
    if hasattr(type(thing), "_checkpoint_children"):
        found = thing._checkpoint_children()
    elif isinstance(thing, dict):
        found = {str(key): value for key, value in thing.items()}
    elif isinstance(thing, (list, tuple)):
        found = {str(i): value for i, value in enumerate(thing)}
    elif kind_of(thing) is not None:
        return {}
    elif is_optimizer(thing):
        found = _of_optimizer(thing)
    else:
        found = _of_attributes(thing)
    return {name: value for name, value in found.items() if is_trackable(value) or _holds(value)
            or isinstance(value, (list, dict)) and hasattr(thing, "_checkpoint_children")}


def _of_optimizer(optimizer):
    named = {id(getattr(optimizer, name, None)): name for name in ("_iterations", "_learning_rate")}
    return {named.get(id(variable), f"_variables/{i}"): variable for i, variable in enumerate(optimizer.variables)}


def _of_attributes(thing):
    found = {name: value for name, value in vars(thing).items() if name not in _INTERNAL}
    seen = {id(value) for value in found.values()}
    for value in list(found.values()):
        seen |= _members(value)
    for store in ("layers", "metrics", "seed_generators"):
        for i, item in enumerate(vars(thing).get("_" + store, ())):
            if id(item) not in seen:
                found[f"_{store}/{i}"] = item
    own = [variable for store in ("_trainable_variables", "_non_trainable_variables", "_variables")
           for variable in vars(thing).get(store, ())]
    for i, variable in enumerate(own):
        if id(variable) not in seen:
            found[f"_variables/{i}"] = variable
    return found


def _members(value, depth=8):
    if depth == 0 or not isinstance(value, (list, tuple, dict)):
        return set()
    items = list(value.values() if isinstance(value, dict) else value)
    return {id(item) for item in items}.union(*(_members(item, depth - 1) for item in items))


def walk(root):
    """Return the objects below `root`, nearest first: a list of (path, object, {edge: place in this list})."""
    order, places, nodes = [root], {id(root): 0}, []
    paths = [""]
    for place, thing in enumerate(order):         # `order` grows while we go through it
        edges = {}
        for name, child in children(thing).items():
            if id(child) not in places:
                places[id(child)] = len(order)
                order.append(child)
                paths.append(f"{paths[place]}/{escaped(name)}".lstrip("/"))
            edges[name] = places[id(child)]
        nodes.append((paths[place], thing, edges))
    return nodes


def escaped(name):
    """Return an edge's name as part of a key."""
    return "/".join(part.replace(".", "..") for part in name.split("/")) if name.startswith("_") \
        else name.replace(".", "..").replace("/", ".S")


def key_of(path, kind):
    """Return the key of a value in the checkpoint's table, as TensorFlow writes it."""
    return f"{path}/.ATTRIBUTES/{kind}".lstrip("/")


def value_of(thing):
    """Return what is stored of a variable, an iterator or a table."""
    kind = kind_of(thing)
    if kind == TABLE:
        return tuple(part.numpy() for part in thing.export())
    return thing.state() if kind == ITERATOR else thing.numpy()


def check(thing, value, path):
    """Raise unless `set_values` can give `thing` this value.

    Raises:
        ValueError: another shape, dtype or kind of object.
    """
    if (kind_of(thing) == VALUE) != hasattr(value, "dtype"):
        raise ValueError(f"The checkpoint's '{path}' is of another kind than the {type(thing).__name__} to restore.")
    if kind_of(thing) != VALUE:
        return
    name = getattr(thing, "path", None) or thing.name
    if tuple(thing.shape) != value.shape:
        raise ValueError(f"Received incompatible tensor with shape {value.shape} when attempting to restore variable "
                         f"with shape {tuple(thing.shape)} and name {name} (in the checkpoint: '{path}').")
    if thing.dtype.name != value.dtype.name if hasattr(thing.dtype, "name") else thing.dtype != value.dtype.name:
        raise ValueError(f"Received incompatible tensor with dtype {value.dtype.name} when attempting to restore "
                         f"variable '{name}' with dtype {thing.dtype} (in the checkpoint: '{path}').")


def set_values(pairs):
    """Give variables, iterators and tables stored values, as `check` has found fit.

    Args:
        pairs: list of (object, value); arrays that nobody changes any more.
    """
    with engine.outside():
        engine.set_host_values([(thing, value) for thing, value in pairs if kind_of(thing) == VALUE])
    for thing, value in pairs:
        if kind_of(thing) == ITERATOR:
            thing.restore(value)
        elif kind_of(thing) == TABLE:
            thing._items.clear()
            thing.insert(*value)
