# SPDX-License-Identifier: Apache-2.0
"""The loss of a compiled model: the weighted sum of the losses of its outputs, each an exact mean."""
from fitloom import losses, metrics, ops
from fitloom.base import nest
from fitloom.trainer.outputs import Outputs

MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def resolve(identifier, name=None):
    """Return a Loss for a name, a Loss, a class, a config or a function of (y_true, y_pred)."""
    if identifier is None or isinstance(identifier, losses.Loss):
        return identifier
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
    def built(self):
        """Whether losses and outputs have been matched."""
        return self.outputs is not None

    def build(self, y_true, y_pred):
        """Match losses with outputs; make the trackers that log '<output>_loss' when there are several."""
        outputs = Outputs(y_pred, self.output_names)
        entries = outputs.align(self.loss, "loss", whole=True)
        self.losses = [resolve(entry) for entry in entries]
        if isinstance(self.loss_weights, (int, float)):
            self.weights = [float(self.loss_weights)] * outputs.count
        else:
            given = outputs.align(self.loss_weights, "loss_weights")
            self.weights = [None if weight is None else float(weight) for weight in given]
        used = [k for k, loss in enumerate(self.losses) if loss is not None]
        if len(used) > 1:
            taken = set()
            for k in used:
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
        if outputs.count == 1 and nest.is_nested(y_true) and len(nest.flatten(y_true)) == 1:
            targets = nest.flatten(y_true)
        else:
            targets = outputs.align(y_true, "y")
        weights = outputs.align(sample_weight, "sample_weight", whole=True)
        total, trackers, self.denominator = None, iter(self.metrics), None
        for k, loss in enumerate(self.losses):
            if loss is None:
                continue
            if targets[k] is None:
                label = f" '{outputs.names[k]}'" if outputs.names[k] else ""
                raise ValueError(f"Output {k}{label} has the loss '{loss.name}' but no target. Give y for it, or "
                                 "loss=None for this output.")
            value, weight = self._one(loss, targets[k], predictions[k], weights[k], row_mask)
            if self.metrics:
                next(trackers).update_state(value, sample_weight=weight)
            else:
                self.denominator = weight
            if self.weights[k] is not None:
                value = value * self.weights[k]
            total = value if total is None else total + value
        return total

    def _one(self, loss, y_true, y_pred, sample_weight, row_mask):
        """Return one loss's value and the weight with which it enters the epoch's mean."""
        reduction = getattr(loss, "reduction", None)
        if reduction in MEANS or (reduction == "sum" and row_mask is not None):
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
