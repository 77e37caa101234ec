# SPDX-License-Identifier: Apache-2.0
"""The Loss classes: a function of this room with a name and a reduction.

Args of all:
    reduction: 'sum_over_batch_size', 'mean', 'sum', 'mean_with_sample_weight', 'none' or None.
    name: name in logs.
    dtype: dtype of the computation (None: `floatx`).
The other arguments are those of the function named in each docstring.
"""
from fitloom import engine, ops
from fitloom.base import config, registry
from fitloom.engine.tensor import Tensor
from fitloom.losses import classification, overlap, regression
from fitloom.losses.loss import Loss
from fitloom.losses.recording import Recorder, is_symbolic
from fitloom.losses.shapes import as_tensor

registry.builtin("keras.losses")(Loss)


class FunctionLoss(Loss):
    """A built-in loss: `fn` and the names of its settings, kept as attributes and in the configuration."""

    per_example = True
    fn = _bound = None
    unwritten: dict = {}        # settings that Keras leaves out of configurations: written when not at this default

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if not cls.__module__.startswith("fitloom.") and "per_example" not in cls.__dict__:
            cls.per_example = False     # a user's subclass may do anything

    def __init__(self, reduction, name, dtype, **settings):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        for key, value in settings.items():
            setattr(self, key, value)
        self._fn_kwargs = settings
        self._recorder = _recorder(type(self), tuple(settings.items()))

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the reduced loss, recorded as one instruction."""
        known = self._bound
        if sample_weight is None and known is not None and y_true.__class__ is Tensor and y_pred.__class__ is Tensor \
                and y_pred._keras_mask is None and y_true._keras_mask is None and known[0] == self.reduction \
                and known[1] == self._dtype and known[2] == config.epsilon():
            loss = known[3].replay((y_true, y_pred))
            return known[3].record((y_true, y_pred)) if loss is engine.MISSED else loss
        if is_symbolic(y_true, y_pred, sample_weight) or self._recorder is None:
            return super().__call__(y_true, y_pred, sample_weight)
        arguments = [None if x is None else as_tensor(x) for x in (y_true, y_pred, sample_weight)]
        settings = (("reduction", self.reduction), ("dtype", self._dtype), ("epsilon", config.epsilon()))
        self.__dict__["_bound"] = (self.reduction, self._dtype, config.epsilon(),
                                   self._recorder.bind((1, 1, 0), settings))
        return self._recorder(arguments, settings)

    def call(self, y_true, y_pred):
        """Return the loss of each row."""
        return type(self).fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self):
        """Return the constructor's arguments."""
        own = {key: value for key, value in self._fn_kwargs.items()
               if key not in self.unwritten or value != self.unwritten[key]}
        return {**super().get_config(), **own}

    def __getstate__(self):
        # programs stay in this process
        return {key: value for key, value in self.__dict__.items() if key not in ("_recorder", "_bound")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._recorder = _recorder(type(self), tuple(self._fn_kwargs.items()))


_recorders: dict = {}   # (class, settings) -> Recorder: losses that compute the same share their programs


def _recorder(cls, settings):
    if not cls.__module__.startswith("fitloom."):
        return None             # a user's subclass may do anything in `call`
    key = (cls, repr(settings))
    if key not in _recorders:
        template = object.__new__(cls)
        template.__dict__.update(dict(settings), _fn_kwargs=dict(settings), name=cls.__name__)

        def body(y_true, y_pred, sample_weight, reduction, dtype, epsilon):
            template.reduction, template._dtype = reduction, dtype
            return Loss.__call__(template, y_true, y_pred, sample_weight)

        _recorders[key] = Recorder(body, cls.__name__)
    return _recorders[key]


def _plain(function, class_name, default_name, doc):
    """Make the class of a function without settings."""
    def __init__(self, reduction="sum_over_batch_size", name=default_name, dtype=None):
        FunctionLoss.__init__(self, reduction, name, dtype)

    made = type(class_name, (FunctionLoss,), {
        "__init__": __init__, "__doc__": f"{doc}: `{function.__name__}`.", "fn": staticmethod(function),
        "__module__": __name__, "__qualname__": class_name})
    return registry.builtin("keras.losses")(made)


MeanSquaredError = _plain(regression.mean_squared_error, "MeanSquaredError", "mean_squared_error",
                          "Mean of squared errors")
MeanAbsoluteError = _plain(regression.mean_absolute_error, "MeanAbsoluteError", "mean_absolute_error",
                           "Mean of absolute errors")
MeanAbsolutePercentageError = _plain(
    regression.mean_absolute_percentage_error, "MeanAbsolutePercentageError", "mean_absolute_percentage_error",
    "Mean of absolute errors in percent of the target")
MeanSquaredLogarithmicError = _plain(
    regression.mean_squared_logarithmic_error, "MeanSquaredLogarithmicError", "mean_squared_logarithmic_error",
    "Mean of squared errors of log(y + 1)")
LogCosh = _plain(regression.log_cosh, "LogCosh", "log_cosh", "Logarithm of the hyperbolic cosine of the error")
Poisson = _plain(regression.poisson, "Poisson", "poisson", "Poisson likelihood")
Hinge = _plain(regression.hinge, "Hinge", "hinge", "Hinge loss of labels -1 and 1")
SquaredHinge = _plain(regression.squared_hinge, "SquaredHinge", "squared_hinge", "Squared hinge loss")
CategoricalHinge = _plain(regression.categorical_hinge, "CategoricalHinge", "categorical_hinge",
                          "Hinge loss of one-hot labels")
KLDivergence = _plain(classification.kl_divergence, "KLDivergence", "kl_divergence", "Kullback-Leibler divergence")
CTC = _plain(classification.ctc, "CTC", "ctc", "Connectionist temporal classification")


@registry.builtin("keras.losses")
class Huber(FunctionLoss):
    """Squared error near 0, absolute error beyond `delta`: `huber`."""

    fn = staticmethod(regression.huber)
    unwritten = {"delta": 1.0}

    def __init__(self, delta=1.0, reduction="sum_over_batch_size", name="huber_loss", dtype=None):
        super().__init__(reduction, name, dtype, delta=delta)


@registry.builtin("keras.losses")
class CosineSimilarity(FunctionLoss):
    """Negative cosine of the angle between targets and outputs: `cosine_similarity`."""

    fn = staticmethod(regression.cosine_similarity)
    unwritten = {"axis": -1}

    def __init__(self, axis=-1, reduction="sum_over_batch_size", name="cosine_similarity", dtype=None):
        super().__init__(reduction, name, dtype, axis=axis)


@registry.builtin("keras.losses")
class BinaryCrossentropy(FunctionLoss):
    """Crossentropy of independent yes/no targets: `binary_crossentropy`.

    Example:
        >>> import fitloom as tf
        >>> loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
        >>> float(loss([[1.0]], [[0.0]]))
        0.6931471824645996
    """

    fn = staticmethod(classification.binary_crossentropy)

    def __init__(self, from_logits=False, label_smoothing=0.0, axis=-1, reduction="sum_over_batch_size",
                 name="binary_crossentropy", dtype=None):
        super().__init__(reduction, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis)


@registry.builtin("keras.losses")
class BinaryFocalCrossentropy(FunctionLoss):
    """Binary crossentropy that gives easy examples less weight: `binary_focal_crossentropy`."""

    fn = staticmethod(classification.binary_focal_crossentropy)

    def __init__(self, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0,
                 axis=-1, reduction="sum_over_batch_size", name="binary_focal_crossentropy", dtype=None):
        super().__init__(reduction, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
                         apply_class_balancing=apply_class_balancing, alpha=alpha, gamma=gamma)


@registry.builtin("keras.losses")
class CategoricalCrossentropy(FunctionLoss):
    """Crossentropy of one-hot targets: `categorical_crossentropy`."""

    fn = staticmethod(classification.categorical_crossentropy)

    def __init__(self, from_logits=False, label_smoothing=0.0, axis=-1, reduction="sum_over_batch_size",
                 name="categorical_crossentropy", dtype=None):
        super().__init__(reduction, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis)


@registry.builtin("keras.losses")
class CategoricalFocalCrossentropy(FunctionLoss):
    """Categorical crossentropy that gives easy examples less weight: `categorical_focal_crossentropy`."""

    fn = staticmethod(classification.categorical_focal_crossentropy)

    def __init__(self, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1,
                 reduction="sum_over_batch_size", name="categorical_focal_crossentropy", dtype=None):
        super().__init__(reduction, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
                         alpha=alpha, gamma=gamma)


class _LabelLoss(FunctionLoss):
    """A loss whose targets are class numbers: they are never cast to the loss's dtype (bfloat16 holds 256)."""

    def _convert_true(self, x):
        return as_tensor(x)


@registry.builtin("keras.losses")
class SparseCategoricalCrossentropy(_LabelLoss):
    """Crossentropy of integer class numbers: `sparse_categorical_crossentropy`.

    Example:
        >>> import fitloom as tf
        >>> loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> float(loss([0], [[0.0, 0.0]]))
        0.6931471824645996
    """

    fn = staticmethod(classification.sparse_categorical_crossentropy)
    unwritten = {"axis": -1}

    def __init__(self, from_logits=False, ignore_class=None, reduction="sum_over_batch_size", axis=-1,
                 name="sparse_categorical_crossentropy", dtype=None):
        super().__init__(reduction, name, dtype, from_logits=from_logits, ignore_class=ignore_class, axis=axis)

    def valid(self, y_true, y_pred, losses):
        """Hide rows of the ignored class."""
        if self.ignore_class is None:
            return None
        return ops.not_equal(ops.reshape(ops.cast(y_true, "int32"), losses.shape), self.ignore_class)


@registry.builtin("keras.losses")
class CategoricalGeneralizedCrossEntropy(_LabelLoss):
    """Crossentropy that stands label noise: `categorical_generalized_cross_entropy`.

    Raises:
        ValueError: q outside (0, 1).
    """

    fn = staticmethod(classification.categorical_generalized_cross_entropy)

    def __init__(self, q=0.5, reduction="sum_over_batch_size", name="categorical_generalized_cross_entropy",
                 dtype=None):
        if not 0 < q < 1:
            raise ValueError(f"q must lie between 0 and 1, but is {q}.")
        super().__init__(reduction, name, dtype, q=q)


@registry.builtin("keras.losses")
class Dice(FunctionLoss):
    """1 minus the overlap of masks: `dice`."""

    fn = staticmethod(overlap.dice)

    def __init__(self, reduction="sum_over_batch_size", name="dice", axis=None, dtype=None):
        super().__init__(reduction, name, dtype, axis=axis)
        self.per_example = excludes_batch(axis)


@registry.builtin("keras.losses")
class Tversky(FunctionLoss):
    """1 minus the overlap of masks, with a price for each kind of error: `tversky`."""

    fn = staticmethod(overlap.tversky)

    def __init__(self, alpha=0.5, beta=0.5, reduction="sum_over_batch_size", name="tversky", axis=None, dtype=None):
        super().__init__(reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)
        self.per_example = excludes_batch(axis)


def excludes_batch(axis):
    """Whether a sum over `axis` keeps the batch axis."""
    if axis is None:
        return False
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    return 0 not in axes


@registry.builtin("keras.losses")
class Circle(_LabelLoss):
    """Metric-learning loss of L2-normalised embeddings and their labels: `circle`."""

    fn = staticmethod(overlap.circle)
    per_example = False

    def __init__(self, gamma=80.0, margin=0.4, remove_diagonal=True, reduction="sum_over_batch_size", name="circle",
                 dtype=None):
        super().__init__(reduction, name, dtype, gamma=gamma, margin=margin, remove_diagonal=remove_diagonal)

    def valid(self, y_true, y_pred, losses):
        """Hide rows that found no example of their class, or of another."""
        return losses > 0.0
