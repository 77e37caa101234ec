# SPDX-License-Identifier: Apache-2.0
"""Image layers that mix images, or choose among other layers: MixUp, CutMix, RandAugment, AugMix."""
from fitloom import engine, ops
from fitloom.layers import preprocessing_color as color
from fitloom.layers import preprocessing_geometric as geometric
from fitloom.layers.preprocessing_image import RandomImages, value_bounds
from fitloom.ops import layer_kernels as kernels


def refused_boxes(self, bounding_boxes, transformation, training=True, size=None):
    """Refuse while something is drawn: parts of an image come from elsewhere."""
    if transformation is None:
        return bounding_boxes
    raise NotImplementedError(f"{type(self).__name__} does not change 'bounding_boxes'; take them out, or use the "
                              "geometric layers themselves.")


class _Mixing(RandomImages):
    """Base of layers that mix every image with the image at another place of the batch."""

    per_example = False

    def get_random_transformation(self, data, training=True, seed=None):
        """Return (order, part of the own image, further uniform numbers), or None at rest."""
        if not training:
            return None
        images = data["images"] if isinstance(data, dict) else data
        batch = images.shape[0] if len(images.shape) == 4 else 1
        drawn = kernels.draw_uniform(self.generator.draw(), shape=(6, batch), dtype="float32")
        return ops.argsort(drawn[0]), drawn

    def _mix_labels(self, labels, order, own):
        labels = ops.cast(labels, self.compute_dtype)
        own = ops.reshape(ops.cast(own, labels.dtype), (-1, *(1,) * (len(labels.shape) - 1)))
        return labels * own + ops.gather(labels, order) * (1.0 - own)


class MixUp(_Mixing):
    """Mix images and one-hot labels in pairs by `own * a + (1 - own) * b` (Zhang et al., 2018).

    Args:
        alpha: the parts are drawn from the Beta(alpha, alpha) distribution.
    """

    def __init__(self, alpha=0.2, data_format=None, seed=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        if alpha <= 0:
            raise ValueError(f"`alpha` must be > 0. Received: alpha={alpha}")
        self.alpha = alpha

    def get_random_transformation(self, data, training=True, seed=None):
        """Return (order, part of the own image), or None at rest."""
        found = super().get_random_transformation(data, training, seed)
        if found is None:
            return None
        order, drawn = found
        return order, kernels.draw_beta(self.generator.draw(), shape=(drawn.shape[1],), alpha=float(self.alpha),
                                        beta=float(self.alpha))

    def transform_images(self, images, transformation, training=True):
        """Return the mixed images."""
        images = self._float(images)
        if transformation is None:
            return images
        order, own = transformation
        own = ops.cast(self._each(own), images.dtype)
        return images * own + ops.gather(images, order) * (1.0 - own)

    def transform_labels(self, labels, transformation, training=True):
        """Return the mixed labels."""
        return labels if transformation is None else self._mix_labels(labels, *transformation)


    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True, size=None):
        """Return the boxes of both images of each pair, (batch, 2 n, 4), and their labels."""
        if transformation is None:
            return bounding_boxes
        return {name: ops.concat([values, ops.gather(values, transformation[0])], axis=1)
                for name, values in ((name, engine.convert_to_tensor(v)) for name, v in bounding_boxes.items())}


class CutMix(_Mixing):
    """Put a rectangle of another image into each image; one-hot labels mix by area (Yun et al., 2019).

    Args:
        factor: f or a pair, within [0, 1]: part of the area that is kept at least.
    """

    def __init__(self, factor=1.0, seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = self._factor(factor, 0, 1, least=0)

    def _inside(self, images, drawn):
        side = ops.sqrt(1.0 - self._between(drawn[1], self.factor))
        return geometric.rectangle(self, images, side, drawn[2:4])

    def get_random_transformation(self, data, training=True, seed=None):
        """Return (order, mask of the rectangle), or None at rest."""
        found = super().get_random_transformation(data, training, seed)
        if found is None:
            return None
        images = data["images"] if isinstance(data, dict) else data
        images = images if len(images.shape) == 4 else ops.expand_dims(images, 0)
        return found[0], self._inside(images, found[1])

    def transform_images(self, images, transformation, training=True):
        """Return the images with the rectangles."""
        images = self._float(images)
        if transformation is None:
            return images
        order, inside = transformation
        return ops.where(inside, ops.gather(images, order), images)

    transform_bounding_boxes = refused_boxes

    def transform_labels(self, labels, transformation, training=True):
        """Return the mixed labels."""
        if transformation is None:
            return labels
        order, inside = transformation
        other = ops.reduce_mean(ops.cast(inside, "float32"), axis=(1, 2, 3))
        return self._mix_labels(labels, order, 1.0 - other)


class _Choosing(RandomImages):
    """Base of layers that apply others chosen at random."""

    transform_bounding_boxes = refused_boxes

    def _make_layers(self, factor, value_range, interpolation, names=None):
        most = max(factor)
        common = {"seed": self.seed, "data_format": self.data_format, "dtype": self.dtype_policy}
        ranged = {"value_range": value_range, **common}
        unformatted = {k: v for k, v in ranged.items() if k != "data_format"}
        moved = {"fill_mode": "constant", "interpolation": interpolation, **common}
        made = {
            "random_shear": geometric.RandomShear(most, most, **moved),
            "random_translation": geometric.RandomTranslation(most, most, **moved),
            "random_rotation": geometric.RandomRotation(most, **moved),
            "random_brightness": color.RandomBrightness(most, **ranged),
            "random_color_degeneration": color.RandomColorDegeneration(most, **ranged),
            "random_contrast": color.RandomContrast(most, **ranged),
            "random_sharpness": color.RandomSharpness(most, **ranged),
            "random_posterization": color.RandomPosterization(8, **ranged),
            "solarization": color.Solarization(addition_factor=most, threshold_factor=most, **unformatted),
            "auto_contrast": color.AutoContrast(value_range=value_range, data_format=self.data_format),
            "equalization": color.Equalization(value_range=value_range, data_format=self.data_format),
        }
        for name, layer in made.items():
            setattr(self, name, layer)
        return list(made.values())

    def build(self, input_shape=None):
        """Build the layers to choose from: they are never called themselves."""
        for layer in self._layers:
            layer.build(input_shape)
        super().build(input_shape)

    def _chosen(self, layers, images, unit):
        """Apply to each image the layer that its number chooses."""
        choice = ops.cast(unit * float(len(layers)), "int32")
        result = images
        for i, layer in enumerate(layers):
            changed = layer.transform_images(images, layer.get_random_transformation(images, True))
            result = ops.where(self._each(ops.equal(choice, i)), ops.cast(changed, images.dtype), result)
        return result


class RandAugment(_Choosing):
    """Apply `num_ops` random changes of strength up to `factor` to each image (Cubuk et al., 2019)."""

    def __init__(self, value_range=(0, 255), num_ops=2, factor=0.5, interpolation="bilinear", seed=None,
                 data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.value_range, self.num_ops = value_bounds(value_range, type(self).__name__), num_ops
        self.factor, self.interpolation = self._factor(factor, 0, 1, least=0), interpolation
        self.count = max(num_ops, 1)
        self._operations = self._make_layers(self.factor, self.value_range, interpolation)

    def transform_images(self, images, transformation, training=True):
        """Return the changed images."""
        images = self._float(images)
        if transformation is not None:
            for i in range(self.num_ops):
                images = self._chosen(self._operations, images, transformation[i])
        return images


class AugMix(_Choosing):
    """Mix each image with chains of random changes of itself (Hendrycks et al., 2020).

    Args:
        value_range: lowest and highest value of the images.
        num_chains: chains that are mixed; chain_depth: changes in each.
        factor: strength; alpha: of the Beta and Dirichlet distributions of the parts.
        all_ops: also brightness, colour, contrast and sharpness.
    """

    def __init__(self, value_range=(0, 255), num_chains=3, chain_depth=3, factor=0.3, alpha=1.0, all_ops=True,
                 interpolation="bilinear", seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.value_range = value_bounds(value_range, type(self).__name__)
        self.num_chains, self.chain_depth, self.alpha = num_chains, chain_depth, alpha
        self.factor, self.all_ops, self.interpolation = self._factor(factor, 0, 1, least=0), all_ops, interpolation
        made = self._make_layers(self.factor, self.value_range, interpolation)
        optional = (color.RandomBrightness, color.RandomColorDegeneration, color.RandomContrast, color.RandomSharpness)
        self._operations = made if all_ops else [layer for layer in made if not isinstance(layer, optional)]
        self.count = num_chains * chain_depth + num_chains + 1

    def transform_images(self, images, transformation, training=True):
        """Return the mixed images."""
        images = self._float(images)
        if transformation is None:
            return images
        chains = self.num_chains
        # Parts of a flat Dirichlet distribution: exponentials divided by their sum.
        parts = -ops.log(1.0 - transformation[:chains])
        parts = parts / ops.reduce_sum(parts, axis=0, keepdims=True)
        own = transformation[chains]
        mixed = ops.zeros_like(images)
        for i in range(chains):
            changed = images
            for j in range(self.chain_depth):
                changed = self._chosen(self._operations, changed,
                                       transformation[chains + 1 + i * self.chain_depth + j])
            mixed = mixed + changed * ops.cast(self._each(parts[i]), images.dtype)
        own = ops.cast(self._each(own), images.dtype)
        return own * images + (1.0 - own) * mixed
