# SPDX-License-Identifier: Apache-2.0
"""One small example of every layer: constructor arguments, shapes of the inputs, call arguments."""
import numpy as np

import fitloom as tf

layers = tf.keras.layers
REST = {"training": False}
IMAGE, SEQUENCE, VOLUME = (2, 6, 5, 3), (2, 6, 3), (2, 4, 4, 4, 2)

# name -> (arguments, input shape or list of them or ("int", n, shape), call arguments)
EXAMPLES = {
    "Activation": ({"activation": "tanh"}, (2, 4), {}),
    "ActivityRegularization": ({"l1": 0.1}, (2, 4), {}),
    "AdaptiveAveragePooling1D": ({"output_size": 2}, SEQUENCE, {}),
    "AdaptiveAveragePooling2D": ({"output_size": 2}, IMAGE, {}),
    "AdaptiveAveragePooling3D": ({"output_size": 2}, VOLUME, {}),
    "AdaptiveMaxPooling1D": ({"output_size": 2}, SEQUENCE, {}),
    "AdaptiveMaxPooling2D": ({"output_size": 2}, IMAGE, {}),
    "AdaptiveMaxPooling3D": ({"output_size": 2}, VOLUME, {}),
    "Add": ({}, [(2, 4), (2, 4)], {}),
    "AdditiveAttention": ({}, [(2, 5, 4), (2, 3, 4)], {}),
    "AlphaDropout": ({"rate": 0.3, "seed": 1}, (2, 4), {}),
    "Attention": ({"use_scale": True}, [(2, 5, 4), (2, 3, 4)], {}),
    "Average": ({}, [(2, 4), (2, 4)], {}),
    "AveragePooling1D": ({"pool_size": 2}, SEQUENCE, {}),
    "AveragePooling2D": ({"pool_size": 2}, IMAGE, {}),
    "AveragePooling3D": ({"pool_size": 2}, VOLUME, {}),
    "BatchNormalization": ({}, (4, 3), {"training": True}),
    "Bidirectional": ({"layer": lambda: layers.LSTM(2)}, SEQUENCE, {}),
    "Concatenate": ({}, [(2, 4), (2, 3)], {}),
    "Conv1D": ({"filters": 2, "kernel_size": 3}, SEQUENCE, {}),
    "Conv1DTranspose": ({"filters": 2, "kernel_size": 3, "strides": 2}, SEQUENCE, {}),
    "Conv2D": ({"filters": 2, "kernel_size": 3, "padding": "same", "strides": 2}, IMAGE, {}),
    "Conv2DTranspose": ({"filters": 2, "kernel_size": 3, "strides": 2}, IMAGE, {}),
    "Conv3D": ({"filters": 2, "kernel_size": 2}, VOLUME, {}),
    "Conv3DTranspose": ({"filters": 2, "kernel_size": 2}, VOLUME, {}),
    "ConvLSTM1D": ({"filters": 2, "kernel_size": 2}, (2, 3, 5, 2), {}),
    "ConvLSTM2D": ({"filters": 2, "kernel_size": 2}, (2, 2, 4, 4, 2), {}),
    "ConvLSTM3D": ({"filters": 2, "kernel_size": 2}, (1, 2, 3, 3, 3, 1), {}),
    "Cropping1D": ({"cropping": (1, 2)}, SEQUENCE, {}),
    "Cropping2D": ({"cropping": 1}, IMAGE, {}),
    "Cropping3D": ({"cropping": 1}, VOLUME, {}),
    "Dense": ({"units": 3, "activation": "tanh"}, (2, 4), {}),
    "DepthwiseConv1D": ({"kernel_size": 3, "depth_multiplier": 2}, SEQUENCE, {}),
    "DepthwiseConv2D": ({"kernel_size": 3}, IMAGE, {}),
    "Dot": ({"axes": 1}, [(2, 4), (2, 4)], {}),
    "Dropout": ({"rate": 0.3, "seed": 1}, (2, 4), {}),
    "ELU": ({}, (2, 4), {}),
    "EinsumDense": ({"equation": "abc,cd->abd", "output_shape": (None, 2), "bias_axes": "d"}, SEQUENCE, {}),
    "Embedding": ({"input_dim": 5, "output_dim": 3, "mask_zero": True}, ("int", 5, (2, 4)), {}),
    "Flatten": ({}, IMAGE, {}),
    "GRU": ({"units": 2, "return_sequences": True}, SEQUENCE, {}),
    "GaussianDropout": ({"rate": 0.3}, (2, 4), {}),
    "GaussianNoise": ({"stddev": 0.3}, (2, 4), {}),
    "GlobalAveragePooling1D": ({}, SEQUENCE, {}),
    "GlobalAveragePooling2D": ({}, IMAGE, {}),
    "GlobalAveragePooling3D": ({}, VOLUME, {}),
    "GlobalMaxPooling1D": ({}, SEQUENCE, {}),
    "GlobalMaxPooling2D": ({}, IMAGE, {}),
    "GlobalMaxPooling3D": ({}, VOLUME, {}),
    "GroupNormalization": ({"groups": 2}, (2, 3, 4), {}),
    "GroupedQueryAttention": ({"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2},
                              ((2, 5, 4), (2, 3, 4)), {}),
    "Identity": ({}, (2, 4), {}),
    "LSTM": ({"units": 2}, SEQUENCE, {}),
    "LayerNormalization": ({}, SEQUENCE, {}),
    "LeakyReLU": ({}, (2, 4), {}),
    "Masking": ({}, SEQUENCE, {}),
    "MaxPooling1D": ({"pool_size": 2}, SEQUENCE, {}),
    "MaxPooling2D": ({"pool_size": 2}, IMAGE, {}),
    "MaxPooling3D": ({"pool_size": 2}, VOLUME, {}),
    "Maximum": ({}, [(2, 4), (2, 4)], {}),
    "Minimum": ({}, [(2, 4), (2, 4)], {}),
    "LocallyConnected1D": ({"filters": 2, "kernel_size": 3, "strides": 2}, SEQUENCE, {}),
    "LocallyConnected2D": ({"filters": 2, "kernel_size": 3}, IMAGE, {}),
    "MaxNumBoundingBoxes": ({"max_number": 3}, IMAGE, {}),
    "MultiHeadAttention": ({"num_heads": 2, "key_dim": 2}, ((2, 5, 4), (2, 3, 4)), {}),
    "Multiply": ({}, [(2, 4), (2, 4)], {}),
    "Normalization": ({"mean": [0.0, 1.0, 2.0], "variance": [1.0, 2.0, 3.0]}, (2, 3), {}),
    "PReLU": ({"alpha_initializer": "ones"}, (2, 4), {}),
    "Permute": ({"dims": (2, 1)}, SEQUENCE, {}),
    "RMSNormalization": ({}, SEQUENCE, {}),
    "RNN": ({"cell": lambda: [layers.LSTMCell(2), layers.GRUCell(3)]}, SEQUENCE, {}),
    "ThresholdedReLU": ({"theta": 0.5}, (2, 4), {}),
    "ReLU": ({}, (2, 4), {}),
    "RepeatVector": ({"n": 2}, (2, 4), {}),
    "Rescaling": ({"scale": 2.0, "offset": 1.0}, (2, 4), {}),
    "Reshape": ({"target_shape": (3, -1)}, SEQUENCE, {}),
    "ReversibleEmbedding": ({"input_dim": 5, "output_dim": 3}, ("int", 5, (2, 4)), {}),
    "SeparableConv1D": ({"filters": 2, "kernel_size": 3}, SEQUENCE, {}),
    "SeparableConv2D": ({"filters": 2, "kernel_size": 3}, IMAGE, {}),
    "SimpleRNN": ({"units": 2}, SEQUENCE, {}),
    "Softmax": ({}, (2, 4), {}),
    "SpatialDropout1D": ({"rate": 0.3}, SEQUENCE, {}),
    "SpatialDropout2D": ({"rate": 0.3}, IMAGE, {}),
    "SpatialDropout3D": ({"rate": 0.3}, VOLUME, {}),
    "SpectralNormalization": ({"layer": lambda: layers.Dense(2)}, (2, 4), {}),
    "Subtract": ({}, [(2, 4), (2, 4)], {}),
    "TimeDistributed": ({"layer": lambda: layers.Dense(2)}, SEQUENCE, {}),
    "UnitNormalization": ({}, (2, 4), {}),
    "UpSampling1D": ({"size": 2}, SEQUENCE, {}),
    "UpSampling2D": ({"size": 2, "interpolation": "bilinear"}, IMAGE, {}),
    "UpSampling3D": ({"size": 2}, VOLUME, {}),
    # Random image layers rest here; what they draw is tested in tests/layers/test_preprocessing.py.
    "AugMix": ({}, IMAGE, REST),
    "AutoContrast": ({}, IMAGE, {}),
    "CenterCrop": ({"height": 3, "width": 2}, IMAGE, {}),
    "CutMix": ({}, IMAGE, REST),
    "Equalization": ({}, IMAGE, {}),
    "MelSpectrogram": ({"fft_length": 16, "sequence_stride": 8, "num_mel_bins": 4, "sampling_rate": 1000,
                        "power_to_db": False}, (2, 40), {}),
    "MixUp": ({}, IMAGE, REST),
    "Pipeline": ({"layers": lambda: [layers.Rescaling(2.0), layers.CenterCrop(3, 2)]}, IMAGE, {}),
    "RandAugment": ({}, IMAGE, REST),
    "RandomBrightness": ({"factor": 0.2}, IMAGE, REST),
    "RandomColorDegeneration": ({"factor": 0.2}, IMAGE, REST),
    "RandomColorJitter": ({"hue_factor": 0.2}, IMAGE, REST),
    "RandomContrast": ({"factor": 0.2}, IMAGE, REST),
    "RandomCrop": ({"height": 3, "width": 2}, IMAGE, REST),
    "RandomElasticTransform": ({}, IMAGE, REST),
    "RandomErasing": ({}, IMAGE, REST),
    "RandomFlip": ({}, IMAGE, REST),
    "RandomGaussianBlur": ({}, IMAGE, REST),
    "RandomGrayscale": ({}, IMAGE, REST),
    "RandomHeight": ({"factor": 0.2}, IMAGE, REST),
    "RandomWidth": ({"factor": 0.2}, IMAGE, REST),
    "RandomHue": ({"factor": 0.2}, IMAGE, REST),
    "RandomInvert": ({}, IMAGE, REST),
    "RandomPerspective": ({}, IMAGE, REST),
    "RandomPosterization": ({"factor": 4}, IMAGE, REST),
    "RandomRotation": ({"factor": 0.2}, IMAGE, REST),
    "RandomSaturation": ({"factor": 0.2}, IMAGE, REST),
    "RandomSharpness": ({"factor": 0.2}, IMAGE, REST),
    "RandomShear": ({"x_factor": 0.2}, IMAGE, REST),
    "RandomTranslation": ({"height_factor": 0.2, "width_factor": 0.1}, IMAGE, REST),
    "RandomZoom": ({"height_factor": 0.2}, IMAGE, REST),
    "Resizing": ({"height": 3, "width": 4}, IMAGE, {}),
    "STFTSpectrogram": ({"frame_length": 8, "mode": "psd"}, (2, 40, 2), {}),
    "Solarization": ({}, IMAGE, REST),
    "ZeroPadding1D": ({"padding": 1}, SEQUENCE, {}),
    "ZeroPadding2D": ({"padding": 1}, IMAGE, {}),
    "ZeroPadding3D": ({"padding": 1}, VOLUME, {}),
}

# Classes that are not called on tensors of their own, and where they are tested instead.
ELSEWHERE = {
    "GRUCell": "RNN", "LSTMCell": "RNN", "SimpleRNNCell": "RNN", "StackedRNNCells": "RNN", "Wrapper": "a base class",
    "Merge": "a base class", "Layer": "test_layer.py", "InputLayer": "test_layer.py", "Lambda": "test_core.py",
    "JaxLayer": "test_jax_layer.py", "TFSMLayer": "tests/saving/test_export.py",
    **dict.fromkeys(("CategoryEncoding", "Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup",
                     "TextVectorization"), "test_preprocessing.py: whole numbers and texts"),
}


def make(example, **more):
    """Make the example layer of this name."""
    arguments = {k: v() if callable(v) else v for k, v in EXAMPLES[example][0].items()}
    return getattr(layers, example)(**arguments, **more)


def inputs_of(name, dtype="float32"):
    """Return the list of input arrays of the example."""
    shape, rng = EXAMPLES[name][1], np.random.default_rng(3)
    if shape[0] == "int":
        return [rng.integers(1, shape[1], shape[2]).astype("int32")]
    shapes = shape if isinstance(shape[0], tuple) else [shape]
    return [rng.normal(size=s).astype(dtype) for s in shapes]


def call(name, layer, inputs, **more):
    """Call the layer as the example says: on one tensor, on a list, or with several arguments."""
    shape, arguments = EXAMPLES[name][1], {**EXAMPLES[name][2], **more}
    if isinstance(shape, list):
        return layer(list(inputs), **arguments)
    return layer(*inputs, **arguments)
