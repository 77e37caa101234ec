# SPDX-License-Identifier: Apache-2.0
"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545)."""
from fitloom import initializers, layers, ops
from fitloom.applications import imagenet
from fitloom.base import registry
from fitloom.models import Sequential

# Depths of the four stages, filters, and the hashes of the files.
SIZES = {
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768), "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
             "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768), "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
              "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024), "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
             "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536), "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
              "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
    "xlarge": ((3, 3, 27, 3), (256, 512, 1024, 2048),
               "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
               "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"),
}


@registry.builtin("keras.applications")
class LayerScale(layers.Layer):
    """`gamma * x` with one trained factor a channel."""

    per_example = True

    def __init__(self, init_values, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, _):
        self.gamma = self.add_weight(shape=(self.projection_dim,), initializer=initializers.Constant(self.init_values))

    def call(self, x):
        return x * self.gamma

    def get_config(self):
        return {**super().get_config(), "init_values": self.init_values, "projection_dim": self.projection_dim}


@registry.builtin("keras.applications")
class StochasticDepth(layers.Layer):
    """In training, drop the whole residual of some examples."""

    def __init__(self, drop_path_rate, **kwargs):
        super().__init__(**kwargs)
        self.drop_path_rate = drop_path_rate

    def call(self, x, training=None):
        if not training:
            return x
        keep = 1 - self.drop_path_rate
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        return x / keep * ops.floor(keep + ops.random.uniform(shape, 0, 1, dtype=x.dtype))

    def get_config(self):
        return {**super().get_config(), "drop_path_rate": self.drop_path_rate}


def _normalized(x, name=None):
    return layers.LayerNormalization(epsilon=1e-6, name=name)(x)


def _block(inputs, filters, name):
    x = layers.Conv2D(filters, 7, padding="same", groups=filters, name=f"{name}_depthwise_conv")(inputs)
    x = layers.Dense(4 * filters, name=f"{name}_pointwise_conv_1")(_normalized(x, f"{name}_layernorm"))
    x = layers.Dense(filters, name=f"{name}_pointwise_conv_2")(layers.Activation("gelu", name=f"{name}_gelu")(x))
    x = LayerScale(1e-6, filters, name=f"{name}_layer_scale")(x)
    return inputs + layers.Activation("linear", name=f"{name}_identity")(x)


def _convnext(size, include_top, include_preprocessing, weights, input_tensor, input_shape, pooling, classes,
              classifier_activation, name):
    depths, filters, *hashes = SIZES[size]
    image = x = imagenet.image_input(224, include_top=include_top, weights=weights, input_tensor=input_tensor,
                                     input_shape=input_shape, classes=classes)
    if include_preprocessing and x.shape[imagenet.channel_axis()] == 3:
        x = layers.Normalization(mean=[255 * m for m in imagenet.MEAN["torch"]],
                                 variance=[(255 * d) ** 2 for d in imagenet.DEVIATION],
                                 name=f"{name}_prestem_normalization")(x)
    for i in range(4):
        if i == 0:
            down = [layers.Conv2D(filters[0], 4, strides=4, name=f"{name}_stem_conv"),
                    layers.LayerNormalization(epsilon=1e-6, name=f"{name}_stem_layernorm")]
        else:
            down = [layers.LayerNormalization(epsilon=1e-6, name=f"{name}_downsampling_layernorm_{i - 1}"),
                    layers.Conv2D(filters[i], 2, strides=2, name=f"{name}_downsampling_conv_{i - 1}")]
        x = Sequential(down, name=f"{name}_stem" if i == 0 else f"{name}_downsampling_block_{i - 1}")(x)
        for j in range(depths[i]):
            x = _block(x, filters[i], f"{name}_stage_{i}_block_{j}")
    if include_top:
        imagenet.check_activation(classifier_activation, weights)
        x = _normalized(layers.GlobalAveragePooling2D(name=f"{name}_head_gap")(x), f"{name}_head_layernorm")
        x = layers.Dense(classes, activation=classifier_activation, name=f"{name}_head_dense")(x)
    else:
        x = _normalized(imagenet.pooled(x, pooling))
    return imagenet.finish(name, image, x, input_tensor=input_tensor, weights=weights, include_top=include_top,
                           files=imagenet.both_files("convnext", f"convnext_{size}", *hashes))


def _sized(size, public):
    def build(include_top=True, include_preprocessing=True, weights="imagenet", input_tensor=None, input_shape=None,
              pooling=None, classes=1000, classifier_activation="softmax", name=f"convnext_{size}"):
        return _convnext(size, include_top, include_preprocessing, weights, input_tensor, input_shape, pooling, classes,
                         classifier_activation, name)

    build.__name__ = build.__qualname__ = public
    build.__doc__ = f"Return {public}, which scales its pixels (0..255) itself. As `keras.applications.{public}`."
    return build


ConvNeXtTiny = _sized("tiny", "ConvNeXtTiny")
ConvNeXtSmall = _sized("small", "ConvNeXtSmall")
ConvNeXtBase = _sized("base", "ConvNeXtBase")
ConvNeXtLarge = _sized("large", "ConvNeXtLarge")
ConvNeXtXLarge = _sized("xlarge", "ConvNeXtXLarge")
