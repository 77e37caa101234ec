# SPDX-License-Identifier: Apache-2.0
"""`tf.Module`: an object whose variables and submodules are found by looking at its attributes."""
import enum

from fitloom.base import completion, naming, nest


class Module:
    """A container of variables and other modules.

    Example:
        >>> import fitloom as tf
        >>> class Scale(tf.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.factor = tf.Variable(2.0)
        >>> len(Scale().trainable_variables)
        1
    """

    _TF_MODULE_IGNORED_PROPERTIES: frozenset = frozenset()

    def __init__(self, name=None):
        if name is not None and not name.replace("/", "_").isidentifier():
            raise ValueError(f"'{name}' is not a valid module name: it must be a Python identifier.")
        self._name = name or naming.to_snake_case(type(self).__name__)
        around = naming.current_path()
        self._name_scope = naming.name_scope(f"{around}/{self._name}/" if around else f"{self._name}/")

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        completion.completed(self)

    name = property(lambda self: getattr(self, "_name", naming.to_snake_case(type(self).__name__)))
    name_scope = property(lambda self: self._name_scope)

    def _walk(self, seen):
        """Yield this object's variables and modules, depth first, attributes by name."""
        for key in sorted(vars(self)):
            if key in self._TF_MODULE_IGNORED_PROPERTIES:
                continue
            for leaf in nest.flatten(vars(self)[key]):
                if id(leaf) in seen:
                    continue
                if getattr(leaf.__class__, "is_variable", False) or isinstance(leaf, Module) or (
                        hasattr(leaf, "trainable_variables") and hasattr(leaf, "variables")):
                    seen.add(id(leaf))
                    yield leaf

    def _flatten(self, recursive=True, predicate=None, attribute_traversal_key=None, with_path=False,
                 expand_composites=False):
        """Yield the values among the attributes for which `predicate` holds (all if None), each once.

        Args:
            recursive: look inside the modules that are found, after everything of this one.
            predicate: value -> bool.
            attribute_traversal_key: orders the attributes' names.
            with_path: yield (path, value), the path a tuple of names, keys and indices.
            expand_composites: look at the tensors that ragged and sparse ones are made of.
        """
        seen, queue = {id(self)}, [((), self)]
        while queue:
            path, module = queue.pop(0)
            ignored = getattr(module, "_TF_MODULE_IGNORED_PROPERTIES", ())
            for key in sorted(vars(module), key=attribute_traversal_key):
                if key in ignored:
                    continue
                value = vars(module)[key]
                if expand_composites:
                    value = nest.map_structure(_expanded, value)
                for place, leaf in nest.flatten_with_paths(value):
                    if id(leaf) in seen:
                        continue
                    seen.add(id(leaf))
                    where = (*path, key, *place)
                    if predicate is None or predicate(leaf):
                        yield (where, leaf) if with_path else leaf
                    if recursive and isinstance(leaf, Module):
                        queue.append((where, leaf))

    def _all_variables(self, seen):
        found, modules = [], []
        for leaf in self._walk(seen):
            (found if getattr(leaf.__class__, "is_variable", False) else modules).append(leaf)
        for module in modules:
            inner = module._all_variables(seen) if isinstance(module, Module) else module.variables
            found += [v for v in inner if all(v is not f for f in found)]
        return found

    @property
    def variables(self):
        """All variables, own ones first."""
        return tuple(self._all_variables({id(self)}))

    @property
    def trainable_variables(self):
        """The trainable ones of `variables`."""
        return tuple(v for v in self.variables if v.trainable)

    @property
    def non_trainable_variables(self):
        """The others."""
        return tuple(v for v in self.variables if not v.trainable)

    @property
    def submodules(self):
        """All modules inside this one."""
        found, seen, queue = [], {id(self)}, [self]
        while queue:
            module = queue.pop(0)
            if not isinstance(module, Module):
                continue
            for leaf in module._walk(seen):
                if not getattr(leaf.__class__, "is_variable", False):
                    found.append(leaf)
                    queue.append(leaf)
        return tuple(found)

    @classmethod
    def with_name_scope(cls, method):
        """Return the method run inside the module's name scope."""
        def scoped(self, *args, **kwargs):
            with self.name_scope:
                return method(self, *args, **kwargs)
        return scoped


def _expanded(leaf):
    return leaf.component_tensors() if nest.is_composite(leaf) else leaf


class VariableAggregation(enum.Enum):
    """How replicas' values of a variable are combined."""

    NONE, SUM, MEAN, ONLY_FIRST_REPLICA = range(4)


class VariableSynchronization(enum.Enum):
    """When replicas' values of a variable are combined."""

    AUTO, NONE, ON_WRITE, ON_READ = range(4)
