# SPDX-License-Identifier: Apache-2.0
"""The loss of a compiled model: the weighted sum of the losses of its outputs, each an exact mean."""
from fitloom import losses, metrics, ops
from fitloom.base import nest
from fitloom.trainer.outputs import Outputs

MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def resolve(identifier, y_true=None, y_pred=None):
    """Return a Loss for a name, a Loss, a class, a config or a function of (y_true, y_pred).

    'crossentropy' chooses its kind by the shapes, as the metric 'accuracy' does.
    """
    if identifier is None or isinstance(identifier, losses.Loss):
        return identifier
    if isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce"):
        if y_pred is None or y_true is None:
            return None
        identifier = ("binary_crossentropy", "sparse_categorical_crossentropy",
                      "categorical_crossentropy")[kind_of(y_true, y_pred)]
    found = losses.get(identifier)
    if found is None or isinstance(found, losses.Loss):
        return found
    if isinstance(found, type):
        return found()
    label = identifier if isinstance(identifier, str) else name_of(found)
    return losses.LossFunctionWrapper(found, name=label)


def name_of(function):
    """Return a function's name as it appears in logs; a lambda is 'lambda'."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else name


def kind_of(y_true, y_pred) -> int:
    """Return 0 for binary targets (one output unit), 1 for class numbers, 2 for one-hot rows."""
    units = y_pred.shape[-1] if len(y_pred.shape) else 1
    if units == 1:
        return 0
    return 1 if len(y_true.shape) < len(y_pred.shape) or (y_true.shape[-1] == 1 and units > 1) else 2


def targets_of(outputs, y_true, wanted):
    """Return the targets by output; those of outputs without a loss may be left out.

    Args:
        wanted: by output, None where no target is needed.
    """
    leaves = nest.flatten(y_true)
    used = [k for k in outputs.order if wanted[k] is not None]
    if outputs.count == 1 and len(leaves) == 1:
        return leaves
    if len(used) < outputs.count and len(leaves) == len(used) and not isinstance(y_true, dict):
        targets = [None] * outputs.count
        for k, leaf in zip(used, leaves):
            targets[k] = leaf
        return targets
    if isinstance(y_true, (list, tuple)) and len(leaves) != outputs.count:
        raise ValueError("y_true and y_pred have different structures. "
                         f"The model has {outputs.count} outputs{outputs._listing()}, but y is a "
                         f"{type(y_true).__name__} of {len(leaves)}. Give one entry for each output, in their order.")
    return outputs.align(y_true, "y")


class CompileLoss:
    """The loss that `compile` was given, for all outputs.

    total = sum over outputs k of loss_weights[k] * mean_k, where mean_k = sum(w * v) / sum(w or count). The pair
    (numerator, denominator) is kept, so that means over batches of any size are exact.

    Args:
        loss: a name, a Loss, a function, or a list or dict of them, one for each output; None for no loss.
        loss_weights: None, a number, or a list or dict of numbers.
        output_names: the names of a functional model's outputs.
    """

    name = "compile_loss"

    def __init__(self, loss, loss_weights=None, output_names=None):
        wrong = [each for each in nest.flatten(loss_weights) if isinstance(each, (str, bytes)) or callable(each)]
        if wrong:
            raise ValueError(f"compile() expected numbers as `loss_weights`, but received {wrong[0]!r}. Its third "
                             f"argument by position is loss_weights: give metrics by name, metrics=[...].")
        self.loss, self.loss_weights, self.output_names = loss, loss_weights, output_names
        self.outputs = None
        self.losses, self.weights, self.metrics = [], [], []
        self.denominator = None        # of the last call with one loss: weight of its mean in the epoch's mean
        if isinstance(loss, str) or callable(loss):
            resolve(loss)              # an unknown name is an error of compile(), not of fit()
        elif nest.is_nested(loss):
            for one in nest.flatten(loss):
                resolve(one)

    @property
    def variables(self):
        """The state of the trackers."""
        return [variable for metric in self.metrics for variable in metric.variables]

    @property
    def built(self):
        """Whether losses and outputs have been matched."""
        return self.outputs is not None

    def build(self, y_true, y_pred):
        """Match losses with outputs; make the trackers that log '<output>_loss' when there are several."""
        outputs, self.metrics = Outputs(y_pred, self.output_names), []
        entries = outputs.align(self.loss, "loss", whole=True)
        given = [None] * outputs.count if y_true is None else targets_of(outputs, y_true, entries)
        self.losses = [resolve(entry, target, prediction)
                       for entry, target, prediction in zip(entries, given, nest.flatten(y_pred))]
        given = nest.flatten(self.loss_weights)
        if isinstance(self.loss_weights, (list, tuple)) and len(given) != sum(loss is not None for loss in self.losses):
            if len(given) != outputs.count:
                raise ValueError(f"`loss_weights` must match the number of losses, got {len(self.losses)} losses and "
                                 f"{len(given)} weights.")
        self.weights = outputs.align(self.loss_weights, "loss_weights", whole=True)
        used = [k for k, loss in enumerate(self.losses) if loss is not None]
        if len(used) > 1:
            taken = set()
            for k in (k for k in outputs.order if k in used):
                base = f"{outputs.names[k] or self.losses[k].name}_loss"
                label, n = base, 0
                while label in taken:
                    n += 1
                    label = f"{base}_{n}"
                taken.add(label)
                self.metrics.append(metrics.Mean(name=label))
        self.outputs = outputs

    def __call__(self, y_true, y_pred, sample_weight=None, row_mask=None):
        """Return the total as a scalar Tensor, or None without any loss; updates the trackers."""
        if not self.built:
            self.build(y_true, y_pred)
        outputs = self.outputs
        predictions = nest.flatten(y_pred)
        targets = targets_of(outputs, y_true, self.losses)
        weights = outputs.align(sample_weight, "sample_weight", whole=True)
        total, trackers, self.denominator = None, iter(self.metrics), None
        for k in outputs.order:
            loss = self.losses[k]
            if loss is None:
                continue
            if targets[k] is None:
                label = f" '{outputs.names[k]}'" if outputs.names[k] else ""
                raise ValueError(f"Output {k}{label} has the loss '{loss.name}' but no target. Give y for it, or "
                                 "loss=None for this output.")
            if predictions[k] is None:
                raise ValueError(f"Output {k} of the model is None, but has the loss '{loss.name}'. Does the model's "
                                 "call() return its outputs?")
            value, weight = self._one(loss, targets[k], predictions[k], weights[k], row_mask)
            if self.metrics:
                next(trackers).update_state(value, sample_weight=weight)
            else:
                self.denominator = weight
            if self.weights[k] is not None:
                value = ops.reduce_mean(value * ops.cast(self.weights[k], value.dtype))
            total = value if total is None else total + value
        return total

    def _one(self, loss, y_true, y_pred, sample_weight, row_mask):
        """Return one loss's value and the weight with which it enters the epoch's mean."""
        reduction = getattr(loss, "reduction", None)
        # a user's class may reduce as it likes
        own_call = getattr(type(loss).__call__, "__module__", "").partition(".")[0] != "fitloom"
        if not own_call and (reduction in MEANS or (reduction == "sum" and row_mask is not None)):
            # the loss itself joins the mask that the prediction carries
            numerator, denominator = loss.terms(y_true, y_pred, sample_weight, mask=row_mask)
            if reduction == "sum":
                return numerator, ops.reduce_sum(ops.cast(row_mask, "float32"))
            return ops.divide_no_nan(numerator, denominator), denominator
        value = loss(y_true, y_pred, sample_weight)
        if len(value.shape):
            value = ops.reduce_mean(value)     # reduction=None: the gradient needs one number
        rows = y_pred.shape[0] if len(y_pred.shape) else 1
        return value, float(rows)
