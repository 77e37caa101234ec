# SPDX-License-Identifier: Apache-2.0
"""`tf.TensorShape`."""
import operator


def dimension(value):
    """Return one dimension as an int, or None for an unknown one."""
    if value is None or value.__class__ is int:
        return value
    return operator.index(value)


class TensorShape:
    """The shape of a tensor: known, partly known (None dimensions) or of unknown rank.

    It compares equal to tuples and lists, and works wherever a tuple of dimensions does.

    Example:
        >>> import fitloom as tf
        >>> tf.TensorShape([None, 3]).is_compatible_with((2, 3))
        True
    """

    __slots__ = ("_dims",)

    def __init__(self, dims):
        if dims is None:
            self._dims = None
        elif dims.__class__ is TensorShape:
            self._dims = dims._dims
        elif isinstance(dims, int):
            self._dims = (dims,)
        else:
            self._dims = tuple(dimension(d) for d in dims)

    @property
    def rank(self):
        """Number of dimensions, or None."""
        return None if self._dims is None else len(self._dims)

    ndims = rank
    dims = property(lambda self: None if self._dims is None else list(self._dims))

    def _known_rank(self):
        if self._dims is None:
            raise ValueError("The rank of this shape is unknown.")
        return self._dims

    def __len__(self):
        return len(self._known_rank())

    def __iter__(self):
        return iter(self._known_rank())

    def __bool__(self):
        return self._dims is not None

    def __getitem__(self, key):
        if self._dims is None:
            return TensorShape(None) if isinstance(key, slice) else None
        got = self._dims[key]
        return TensorShape(got) if isinstance(key, slice) else got

    def __eq__(self, other):
        if other.__class__ is TensorShape:
            return self._dims == other._dims
        if other is None:
            return self._dims is None
        try:
            return self._dims == tuple(other)
        except TypeError:
            return NotImplemented

    def __hash__(self):
        return hash(self._dims)

    def __add__(self, other):
        return self.concatenate(other)

    def __radd__(self, other):
        return TensorShape(other).concatenate(self)

    def __repr__(self):
        return "TensorShape(None)" if self._dims is None else f"TensorShape({list(self._dims)})"

    def __str__(self):
        if self._dims is None:
            return "<unknown>"
        return str(self._dims)

    def __reduce__(self):
        return TensorShape, (self._dims,)

    def as_list(self):
        """Return the dimensions as a list of ints and Nones."""
        return list(self._known_rank())

    def num_elements(self):
        """Return the product of the dimensions, or None."""
        if not self.is_fully_defined():
            return None
        product = 1
        for d in self._dims:
            product *= d
        return product

    def is_fully_defined(self):
        """Whether rank and all dimensions are known."""
        return self._dims is not None and None not in self._dims

    def assert_is_fully_defined(self):
        """Raise ValueError unless everything is known."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined.")

    def is_compatible_with(self, other):
        """Whether some concrete shape fits both."""
        other = TensorShape(other)
        if self._dims is None or other._dims is None:
            return True
        return len(self._dims) == len(other._dims) and all(
            a is None or b is None or a == b for a, b in zip(self._dims, other._dims))

    def assert_is_compatible_with(self, other):
        """Raise ValueError unless some concrete shape fits both."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {TensorShape(other)} are incompatible.")

    def assert_has_rank(self, rank):
        """Raise ValueError unless the rank can be `rank`."""
        if self.rank not in (None, rank):
            raise ValueError(f"Shape {self} must have rank {rank}.")

    def with_rank(self, rank):
        """Return this shape with the rank asserted."""
        return self.merge_with(TensorShape([None] * rank))

    def with_rank_at_least(self, rank):
        """Return this shape, asserting at least `rank` dimensions."""
        if self.rank is not None and self.rank < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}.")
        return self

    def merge_with(self, other):
        """Combine what both know."""
        other = TensorShape(other)
        self.assert_is_compatible_with(other)
        if self._dims is None:
            return other
        if other._dims is None:
            return self
        return TensorShape([b if a is None else a for a, b in zip(self._dims, other._dims)])

    def most_specific_compatible_shape(self, other):
        """Keep the dimensions on which both agree; the rest become None."""
        other = TensorShape(other)
        if self._dims is None or other._dims is None or len(self._dims) != len(other._dims):
            return TensorShape(None)
        return TensorShape([a if a == b else None for a, b in zip(self._dims, other._dims)])

    def concatenate(self, other):
        """Append the dimensions of `other`."""
        other = TensorShape(other)
        if self._dims is None or other._dims is None:
            return TensorShape(None)
        return TensorShape(self._dims + other._dims)
