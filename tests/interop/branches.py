# SPDX-License-Identifier: Apache-2.0
"""Models that hold a dozen layers each, side by side: every layer of Keras crosses in a few files.

A model is made by either package: `make(keras)`. Branch k: its own Input(s), the layer, Flatten; all are concatenated.
"""
import numpy as np

from contracts.layer_examples import EXAMPLES
from parity.layer_cases import CASES, RECURRENT
from parity.test_layers import ATTENTION, NESTED

BATCH = 4
_LATER = {"Bidirectional", "RNN", "SpectralNormalization", "TimeDistributed", "Pipeline"}   # made by NESTED or below
# Keras writes a configuration of RandomShear that it refuses itself ("should be in the range [0, 1.0]").
_NOT_EVEN_KERAS = {"RandomShear"}
# What draws random numbers in training differs by its draws; it crosses, but is not trained side by side.
RANDOM = {"Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout",
          "AlphaDropout"}
# Keras on JAX computes these with tensorflow only; they cross in test_files_of_keras.py.
STRINGS = {"StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing"}
# Image layers that Fitloom does not have.
NOT_OURS = {"ContrastLimitedAdaptiveHistogramEqualization"}
# Layers around code of another framework.
FOREIGN = {"JaxLayer", "FlaxLayer", "TorchModuleWrapper", "TFSMLayer"}
# Layers of Keras 2, which Keras 3 does not have.
OLDER = {"LocallyConnected1D", "LocallyConnected2D", "RandomHeight", "RandomWidth", "ThresholdedReLU"}


def _named(name, arguments):
    return lambda layers: getattr(layers, name)(**arguments)


def _spread(make):
    return lambda layers: lambda inputs, **call: make(layers)(*inputs, **call)


def _cases():
    """Return [(name, function of keras.layers, shape, call arguments)]."""
    found = [(name, _named(name, arguments), shape, call) for name, arguments, shape, call in CASES]
    found = [(name, layer, shape, {k: v for k, v in call.items() if k != "training"})
             for name, layer, shape, call in found]      # predict() overrides an explicit one in Keras only
    found += [(name, _named(name, arguments), (2, 5, 4), {}) for name, arguments in RECURRENT
              if not arguments.get("stateful")]
    have = {case[0] for case in found}
    found += [(name, _named(name, arguments), shape, call) for name, (arguments, shape, call) in EXAMPLES.items()
              if name not in have | _LATER | NOT_OURS | _NOT_EVEN_KERAS | STRINGS | FOREIGN | OLDER
              and (isinstance(shape, list) or not isinstance(shape[0], tuple))]
    found += [(name, make, shape, {k: v for k, v in call.items() if not isinstance(v, np.ndarray)})
              for name, (make, shape, call) in NESTED.items()]
    found += [(name, _spread(make), shape, {k: v for k, v in call.items() if not isinstance(v, np.ndarray)})
              for name, (make, shape, call) in ATTENTION.items()]
    found.append(("Pipeline", lambda layers: layers.Pipeline([layers.Rescaling(2.0), layers.CenterCrop(3, 2)]),
                  (2, 6, 5, 3), {}))
    found += [("CategoryEncoding", lambda layers: layers.CategoryEncoding(5, output_mode="count"), ("int", 5, (2, 3)), {}),
              ("Discretization", lambda layers: layers.Discretization([0.2, 0.4, 0.6], output_mode="one_hot"), (2, 1), {}),
              ("Discretization", lambda layers: layers.Discretization([0.2, 0.6]), (2, 3), {})]
    return found


ALL = _cases()
# Ours gives another result than Keras on JAX: cropping at rest, bins of float images, and a kernel that is normalized
# in training (Keras's JAX trainer drops that assignment).
ONLY_LOADED = {"RandomCrop", "Equalization", "spectral"}
# Keras cannot write these to `.h5`, or not read back what it wrote.
NOT_IN_H5 = {"Attention", "attention", "attention-concat", "attention-causal", "RandomBrightness",
             "RandomColorDegeneration", "RandomPosterization", "RandomSaturation", "RandomSharpness", "Solarization"}
SIZE = 20


def _groups(name, cases):
    return {f"{name}-{k // SIZE}": cases[k:k + SIZE] for k in range(0, len(cases), SIZE)}


_measured = [case for case in ALL if case[0] not in ONLY_LOADED]
_at_rest = [case for case in _measured if case[0] in RANDOM or (case[0] in EXAMPLES and not any(
    case[0] == other[0] for other in [*CASES, *RECURRENT]))]
_trained = [case for case in _measured if case not in _at_rest]
TRAINED = _groups("trained", [case for case in _trained if case[0] not in NOT_IN_H5])
TRAINED |= _groups("not-in-h5", [case for case in _trained if case[0] in NOT_IN_H5])
RESTING = _groups("resting", [case for case in _at_rest if case[0] not in NOT_IN_H5])
RESTING |= _groups("not-in-h5", [case for case in _at_rest if case[0] in NOT_IN_H5])
LOADED = [case for case in ALL if case[0] in ONLY_LOADED]


def make(keras, cases):
    """Return the model of these cases, made by `keras` (either package's)."""
    inputs, flat = [], []
    for k, (_, layer, shape, call) in enumerate(cases):
        own = [_input(keras, s, f"in_{k}_{j}") for j, s in enumerate(_several(shape))]
        inputs += own
        outputs = layer(keras.layers)(own if _is_list(shape) else own[0], **call)
        for output in outputs if isinstance(outputs, (list, tuple)) else [outputs]:
            if len(output.shape) != 2:
                output = keras.layers.Flatten()(output)
            flat.append(keras.layers.Rescaling(0.1)(output))
    return keras.Model(inputs, keras.layers.Concatenate()(flat))


def data(cases, rng):
    """Return the inputs of the model of these cases."""
    found = []
    for _, _, shape, _ in cases:
        for one in _several(shape):
            if one[0] == "int":
                found.append(rng.integers(0, one[1], (BATCH, *one[2][1:])).astype("int32"))
            else:
                found.append(rng.uniform(0.1, 0.9, size=(BATCH, *one[1:])).astype("float32"))
    return found


def _is_list(shape):
    return isinstance(shape, list) or isinstance(shape[0], tuple)


def _several(shape):
    return list(shape) if _is_list(shape) else [shape]


def _input(keras, shape, name):
    if shape[0] == "int":
        return keras.Input(shape[2][1:], dtype="int32", name=name)
    return keras.Input(shape[1:], name=name)
