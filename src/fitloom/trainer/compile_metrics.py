# SPDX-License-Identifier: Apache-2.0
"""The metrics of a compiled model, by output, with Keras' names in the logs."""
from fitloom import metrics as metric_room, ops
from fitloom.base import nest
from fitloom.trainer.compile_loss import kind_of, name_of
from fitloom.trainer.outputs import Outputs

_BY_SHAPE = {     # name -> (binary, sparse, one-hot)
    "accuracy": ("BinaryAccuracy", "SparseCategoricalAccuracy", "CategoricalAccuracy"),
    "crossentropy": ("BinaryCrossentropy", "SparseCategoricalCrossentropy", "CategoricalCrossentropy"),
}
_BY_SHAPE["acc"], _BY_SHAPE["ce"] = _BY_SHAPE["accuracy"], _BY_SHAPE["crossentropy"]


def resolve(identifier, y_true=None, y_pred=None):
    """Return a Metric; 'accuracy' and 'crossentropy' choose their kind by the shapes of targets and predictions.

    One output unit: binary. Targets with fewer axes than predictions, or a last axis of 1: sparse. Else one-hot.
    """
    if identifier is None or isinstance(identifier, metric_room.Metric):
        return identifier
    if isinstance(identifier, str) and identifier.lower() in _BY_SHAPE:
        if y_true is None:
            return None
        return getattr(metric_room, _BY_SHAPE[identifier.lower()][kind_of(y_true, y_pred)])(name=identifier)
    found = metric_room.get(identifier)
    if isinstance(found, type):
        found = found()
    name = identifier if isinstance(identifier, str) else name_of(found)
    if not isinstance(found, metric_room.Metric):
        return metric_room.MeanMetricWrapper(found, name=name)
    if isinstance(identifier, str):
        found = _named(found, name)
    return found


def _named(metric, name):
    try:
        metric.name = name
    except AttributeError:
        metric._name = name
    return metric


class CompileMetrics:
    """The metrics that `compile` was given; behaves like one metric whose result is a dict.

    Args:
        metrics: a metric or list of them (for every output, or one list for each output), or a dict by output.
        weighted_metrics: the same; these also see `sample_weight` and `class_weight`.
        output_names: the names of a functional model's outputs.
    """

    name = "compile_metrics"

    def __init__(self, metrics=None, weighted_metrics=None, output_names=None):
        self.given, self.given_weighted, self.output_names = metrics, weighted_metrics, output_names
        self.outputs = None
        self.entries = []          # (log name, output index, weighted, Metric)
        for one in nest.flatten([metrics, weighted_metrics]):
            resolve(one)           # an unknown name is an error of compile(), not of fit()

    @property
    def built(self):
        """Whether metrics and outputs have been matched."""
        return self.outputs is not None

    @property
    def metrics(self):
        """The metrics, flat."""
        if self.built:
            return [entry[3] for entry in self.entries]
        flat = nest.flatten([self.given, self.given_weighted])
        return [one for one in flat if isinstance(one, metric_room.Metric)]

    @property
    def variables(self):
        """The state of all metrics."""
        return [variable for metric in self.metrics for variable in metric.variables]

    def build(self, y_true, y_pred):
        """Match metrics with outputs and give them their log names."""
        outputs = Outputs(y_pred, self.output_names)
        targets = _targets(outputs, y_true)
        predictions = nest.flatten(y_pred)
        taken, entries = {}, []
        for weighted, given in ((False, self.given), (True, self.given_weighted)):
            groups = _by_output(outputs, given, weighted)
            for k in outputs.order:
                for identifier in groups[k]:
                    if targets[k] is None:
                        raise ValueError(f"Metric {identifier!r} of output {outputs.names[k] or k} has no target: y "
                                         "has no entry for this output.")
                    metric = resolve(identifier, targets[k], predictions[k])
                    prefix = f"{outputs.names[k]}_" if outputs.count > 1 and outputs.names[k] is not None else ""
                    name = prefix + metric.name
                    if weighted and name in taken:
                        name = f"{prefix}weighted_{metric.name}"
                    taken[name] = taken.get(name, 0) + 1
                    if taken[name] > 1:
                        name = f"{name}_{taken[name] - 1}"
                    entries.append((name, k, weighted, metric))
        self.entries, self.outputs = entries, outputs

    def update_state(self, y_true, y_pred, sample_weight=None, row_mask=None):
        """Update every metric with its output; `row_mask` leaves out padded rows."""
        if not self.built:
            self.build(y_true, y_pred)
        if not self.entries:
            return
        targets = _targets(self.outputs, y_true)
        predictions = nest.flatten(y_pred)
        weights = self.outputs.align(sample_weight, "sample_weight", whole=True)
        for _, k, weighted, metric in self.entries:
            weight = weights[k] if weighted else None
            if row_mask is not None:
                rows = ops.cast(row_mask, "float32")
                weight = rows if weight is None else weight * ops.reshape(rows, [-1] + [1] * (len(weight.shape) - 1))
            if weight is None:
                metric.update_state(targets[k], predictions[k])
            else:
                metric.update_state(targets[k], predictions[k], sample_weight=weight)

    def result(self):
        """Return the results as a dict by log name."""
        results = {}
        for name, _, _, metric in self.entries:
            value = metric.result()
            results.update(value) if isinstance(value, dict) else results.__setitem__(name, value)
        return results

    def reset_state(self):
        """Begin again."""
        for metric in self.metrics:
            metric.reset_state()

    def reset_states(self):
        """Begin again (an older name)."""
        self.reset_state()


def _targets(outputs, y_true):
    if outputs.count == 1:
        return nest.flatten(y_true)[:1]
    return outputs.align(y_true, "y")


def _by_output(outputs, given, weighted):
    """Return one list of metrics for each output."""
    what = "weighted_metrics" if weighted else "metrics"
    if given is None:
        return [[] for _ in range(outputs.count)]
    if not isinstance(given, (list, tuple, dict)):
        given = [given]
    if outputs.count == 1 and not isinstance(given, dict):
        if any(isinstance(entry, (list, tuple)) for entry in given):
            given = [one for entry in given for one in (entry if isinstance(entry, (list, tuple)) else [entry])]
        return [[one for one in given if one is not None]]
    if isinstance(given, dict) and not all(key in outputs.names for key in given):
        groups = outputs.align(given, what)                 # a structure like that of nested outputs
    elif isinstance(given, dict):
        groups = [given.get(name) for name in outputs.names]
    elif len(given) == outputs.count:
        groups = [given[outputs.order.index(k)] for k in range(outputs.count)]
    else:
        raise ValueError(f"Invalid `{what}`: the model has {outputs.count} outputs, but {what} is a list of "
                         f"{len(given)}. Give one list of metrics for each output, or a dict by output name.")
    return [[one for one in (group if isinstance(group, (list, tuple)) else [group]) if one is not None]
            for group in groups]
