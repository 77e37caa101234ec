# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.RematScope`: layers whose inner values are computed again in the backward pass instead of stored."""
import math
import threading

from fitloom.autodiff import recompute_grad
from fitloom.base import nest

_MODES = ("full", "activations", "larger_than", "list_of_layers", None)


class _Open(threading.local):
    def __init__(self):
        self.scopes = []


OPEN = _Open()


class RematScope:
    """A context: layers made in it store only their inputs for the backward pass (gradient checkpointing).

    Args:
        mode: which layers: 'full' for all, 'activations' for those with an activation function, 'larger_than' for those
            whose outputs have more elements than `output_size_threshold`, 'list_of_layers' for those whose names are in
            `layer_names`, None for none (inside another scope).
        output_size_threshold: for 'larger_than'.
        layer_names: for 'list_of_layers'.

    Raises:
        ValueError: an unknown mode.

    Source: Chen et al. 2016, https://arxiv.org/abs/1604.06174.

    Example:
        >>> import fitloom as tf
        >>> with tf.keras.RematScope(mode="full"):
        ...     layer = tf.keras.layers.Dense(3, activation="gelu")
        >>> layer(tf.ones((2, 4))).shape
        TensorShape([2, 3])
    """

    def __init__(self, mode="full", output_size_threshold=1024, layer_names=None):
        if mode not in _MODES:
            raise ValueError(f"Invalid mode '{mode}'. Supported modes are: 'full', 'activations', 'larger_than', "
                             "'list_of_layers', or None.")
        self.mode, self.output_size_threshold = mode, output_size_threshold
        self.layer_names = list(layer_names or ())

    def __enter__(self):
        OPEN.scopes.append(self)
        return self

    def __exit__(self, *_):
        OPEN.scopes.pop()

    def chooses(self, layer, args):
        """Whether this call of the layer is to be recomputed."""
        if self.mode == "activations":
            return getattr(layer, "activation", None) is not None
        if self.mode == "larger_than":
            shapes = nest.map_structure(lambda x: tuple(x.shape), args[0]) if args else None
            found = layer.compute_output_shape(shapes)
            sizes = [found] if all(isinstance(n, int) or n is None for n in found) else found
            return any(math.prod(n for n in size if n is not None) > self.output_size_threshold for size in sizes)
        return self.mode == "full" or self.mode == "list_of_layers" and layer.name in self.layer_names


def call_of(layer, args):
    """Return the layer's `call`, recomputed in the backward pass if the scope that it was made in says so."""
    state = layer.__dict__
    scope, recomputed = state["_recompute"]
    if not scope.chooses(layer, args):
        return layer.call
    if recomputed is None:
        recomputed = recompute_grad(layer.call)
        state["_recompute"] = scope, recomputed
    return recomputed
