# SPDX-License-Identifier: Apache-2.0
"""tf.experimental.ExtensionType and the dispatch of operations, as TensorFlow's guide shows them."""
from collections.abc import Mapping

import pytest

import fitloom as tf


class Masked(tf.experimental.ExtensionType):
    values: tf.Tensor
    mask: tf.Tensor

    def with_default(self, default):
        return tf.where(self.mask, self.values, default)

    @tf.function
    def total(self):
        return tf.reduce_sum(self.with_default(0))


class Pencil(tf.experimental.ExtensionType):
    color: str = "black"
    length: tf.Tensor = 1.0


class Player(tf.experimental.ExtensionType):
    name: tf.Tensor
    attributes: Mapping[str, tf.Tensor]
    position: tuple[int, ...] = ()


class Network(tf.experimental.BatchableExtensionType):
    shape: tf.TensorShape
    work: tf.Tensor

    def __init__(self, work):
        self.work = tf.convert_to_tensor(work)
        self.shape = self.work.shape[:-1]


class Node(tf.experimental.ExtensionType):
    value: tf.Tensor
    children: tuple["Node", ...] = ()


def test_fields():
    masked = Masked(values=[1, 2, 3], mask=[True, False, True])
    assert masked.with_default(0).numpy().tolist() == [1, 0, 3] and int(masked.total()) == 4
    assert float(Pencil().length) == 1 and Pencil(color="blue").color == "blue"
    assert int(Node(3, [Node(5), Node(2)]).children[1].value) == 2
    assert repr(Pencil()).startswith("Pencil(color='black', length=<tf.Tensor")
    for change in (lambda: setattr(masked, "mask", [True]), lambda: delattr(masked, "mask")):
        with pytest.raises(AttributeError, match="Cannot"):
            change()
    with pytest.raises(TypeError, match="cannot be changed"):
        Player(1, {"a": 2}).attributes["b"] = 3


@pytest.mark.parametrize("make, words", [
    (lambda: Masked([1], None), "Masked.mask: expected a Tensor"), (lambda: Pencil(color=3), "color: expected str"),
    (lambda: Masked([1]), "missing a required argument: 'mask'"),
    (lambda: Player(1, {}, position=[1.5]), "position: expected int"), (lambda: Player(1, 2), "expected a mapping")])
def test_fields_of_another_type(make, words):
    with pytest.raises(TypeError, match=words):
        make()


def test_equality():
    a, b = Masked([1, 2], [True, False]), Masked([[1, 2]], [[True, False]])
    assert a == a and not a == b and a != b and not a == a.values and not a == Masked([1, 3], [True, False])


def test_checks_of_ones_own():
    class Checked(Masked):
        def __validate__(self):
            assert self.mask.dtype.is_bool, "bool"
    with pytest.raises(AssertionError, match="bool"):
        Checked([1], [0])


def test_types_of_values():
    spec = tf.type_spec_from_value(Player(1.5, {"height": [8.0, 1.0]}, (1,)))
    assert spec.name == tf.TensorSpec([]) and spec.attributes == {"height": tf.TensorSpec([2])}
    assert spec == Player.Spec(tf.TensorSpec([]), {"height": tf.TensorSpec([2])}, (1,))
    with pytest.raises(TypeError, match="missing"):
        Player.Spec(tf.TensorSpec([]))


def test_functions_loops_and_branches():
    traced = []

    @tf.function
    def renamed(player):
        traced.append(player)
        return Player(0, player.attributes, player.position)
    for position in (1,), (1,), (2,):
        made = renamed(Player(len(traced), {"speed": 2.0}, position))
        assert type(made) is Player and float(made.attributes["speed"]) == 2 and made.position == position
    assert len(traced) == 2
    start = Masked([1, 2], [True, True])
    _, end = tf.while_loop(lambda i, m: i < 3, lambda i, m: (i + 1, Masked(m.values + 1, m.mask)), (0, start))
    assert end.values.numpy().tolist() == [4, 5]
    assert tf.cond(tf.constant(False), lambda: start, lambda: end).values.numpy().tolist() == [4, 5]


def test_batches():
    batch = Network([[5.0, 3, 8], [3, 4, 2]])
    rows = list(tf.data.Dataset.from_tensor_slices(batch))
    assert [row.shape.as_list() for row in rows] == [[], []] and rows[1].work.numpy().tolist() == [3, 4, 2]
    again = next(iter(tf.data.Dataset.from_tensor_slices(batch).batch(2)))
    assert type(again) is Network and again.work.shape == (2, 3) and again.shape.rank == 1
    doubled = tf.map_fn(lambda network: Network(network.work * 2), batch)
    assert doubled.work.numpy().tolist() == [[10, 6, 16], [6, 8, 4]]


def test_operations_on_ones_own_types():
    @tf.experimental.dispatch_for_api(tf.stack)
    def stacked(values: list[Masked | tf.Tensor], axis=0):
        values = [v if isinstance(v, Masked) else Masked(v, tf.ones_like(v, tf.bool)) for v in values]
        return Masked(tf.stack([v.values for v in values], axis), tf.stack([v.mask for v in values], axis))

    @tf.experimental.dispatch_for_unary_elementwise_apis(Masked)
    def one(operation, x):
        return Masked(operation(x.values), x.mask)

    @tf.experimental.dispatch_for_binary_elementwise_apis(Masked, Masked)
    def two(operation, x, y):
        return Masked(operation(x.values, y.values), x.mask & y.mask)
    x, y = Masked([1, -2], [True, True]), Masked([3, 4], [True, False])
    try:
        assert tf.stack([x, y, tf.constant([5, 6])]).values.shape == (3, 2) and tf.stack([[1], [2]]).shape == (2, 1)
        assert tf.abs(x).values.numpy().tolist() == [1, 2] and int(tf.abs(-3)) == 3
        assert tf.ones_like(x, dtype=tf.float32).values.dtype == tf.float32
        assert tf.math.add(x, y).mask.numpy().tolist() == [True, False] and int(tf.add(1, 2)) == 3
    finally:
        for function in (stacked, one, two):
            tf.experimental.unregister_dispatch_for(function)
    with pytest.raises((TypeError, ValueError)):
        tf.abs(x)
    with pytest.raises(ValueError, match="not registered"):
        tf.experimental.unregister_dispatch_for(one)
    with pytest.raises(ValueError, match="Annotate"):
        tf.experimental.dispatch_for_api(tf.abs)(lambda values: values)


def test_annotations_as_text_are_read_where_the_class_is_made():
    here = tf

    class Local(tf.experimental.ExtensionType):
        value: "here.Tensor"
        more: "tuple[Local, ...]" = ()
    assert int(Local(3, [Local(4)]).more[0].value) == 4 and here is tf
