# SPDX-License-Identifier: Apache-2.0
"""Knowledge distillation (Hinton et al., 2015): a student learns from data and from a frozen teacher."""
from fitloom import losses, metrics, ops
from fitloom.base import nest, registry, serialization
from fitloom.models.model import Model

_NAMESPACE = "keras.distillation"
_OUTPUT = "final_output"


def _as_losses(loss, owner):
    """Return `loss` with names made into functions and Losses; at least one must not be None."""
    found = nest.map_structure(lambda each: each if each is None else losses.get(each), loss)
    if all(each is None for each in nest.flatten(found)):
        raise ValueError(f"{owner} needs at least one loss that is not None.")
    return found


def _total(loss, function, teacher_outputs, student_outputs):
    """Return the sum of `function(loss, teacher, student)` over the outputs that have a loss."""
    parts = [ops.reduce_mean(function(each, a, b)) for each, a, b in zip(
        nest.flatten(loss), nest.flatten(teacher_outputs), nest.flatten(student_outputs)) if each is not None]
    return ops.add_n(parts)


class DistillationLoss:
    """How far the student is from the teacher; subclass it and write `compute_loss`."""

    teacher_layer_name = student_layer_name = None

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Return a scalar; subclasses write this.

        Args:
            teacher_outputs, student_outputs: tensors, or equal structures of tensors.
        """
        raise NotImplementedError("Subclasses must implement compute_loss(self, teacher_outputs, student_outputs).")

    def validate_outputs(self, teacher_outputs, student_outputs):
        """Raise ValueError unless both nest alike."""
        nest.assert_same_structure(teacher_outputs, student_outputs)

    def validate_model_compatibility(self, teacher, student):
        """Raise ValueError if this loss cannot be used with these models."""

    @classmethod
    def from_config(cls, config):
        """Make a loss from `get_config()`."""
        return cls(**{**config, "loss": nest.map_structure(
            lambda each: each, serialization.deserialize_keras_object(config["loss"]))})


@registry.builtin(_NAMESPACE)
class LogitsDistillation(DistillationLoss):
    """Compare the outputs, both divided by a temperature.

    Args:
        temperature: above 1 it shows more of what the teacher thinks of the other classes.
        loss: name or Loss, or a structure of them like the outputs, None where one is left out. 'kl_divergence'
            compares the softmaxes and is multiplied by `temperature ** 2`; others get the divided logits.
    """

    def __init__(self, temperature=3.0, loss="kl_divergence"):
        if isinstance(temperature, bool) or not isinstance(temperature, (int, float)):
            raise ValueError(f"temperature must be a number, got {type(temperature)}")
        if temperature <= 0.0:
            raise ValueError(f"temperature must be positive. Received: temperature={temperature}")
        self.temperature, self.loss = temperature, _as_losses(loss, "LogitsDistillation")

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Return the loss of the divided outputs."""
        return _total(self.loss, self._one, teacher_outputs, student_outputs)

    def _one(self, loss, teacher, student):
        teacher, student = teacher / self.temperature, student / self.temperature
        if isinstance(loss, losses.KLDivergence) or loss is losses.kl_divergence:
            return ops.reduce_mean(loss(ops.softmax(teacher), ops.softmax(student))) * float(self.temperature) ** 2
        return loss(teacher, student)

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {"temperature": self.temperature, "loss": serialization.serialize_keras_object(self.loss)}


@registry.builtin(_NAMESPACE)
class FeatureDistillation(DistillationLoss):
    """Compare what two layers give.

    Args:
        loss: name or Loss, or a structure of them like the layers' outputs, None where one is left out.
        teacher_layer_name, student_layer_name: names of the layers; None for the outputs of the models. Layers by name
            need functional or Sequential models.
    """

    def __init__(self, loss="mse", teacher_layer_name=None, student_layer_name=None):
        self.loss = _as_losses(loss, "FeatureDistillation")
        self.teacher_layer_name, self.student_layer_name = teacher_layer_name, student_layer_name

    def validate_model_compatibility(self, teacher, student):
        """Raise ValueError for a layer that a model does not have."""
        for role, model, name in (("teacher", teacher, self.teacher_layer_name),
                                  ("student", student, self.student_layer_name)):
            if name is None:
                continue
            if getattr(model, "inputs", None) is None:
                raise ValueError("FeatureDistillation with specific layer names requires Functional or Sequential "
                                 f"models, but the {role} '{model.name}' appears to be subclassed (it has no symbolic "
                                 "inputs). Leave the names out, or use LogitsDistillation.")
            try:
                model.get_layer(name=name)
            except ValueError as error:
                raise ValueError(f"In {role} model: {error}") from None

    def validate_outputs(self, teacher_outputs, student_outputs):
        """Raise ValueError unless outputs and losses nest alike."""
        super().validate_outputs(teacher_outputs, student_outputs)
        try:
            nest.assert_same_structure(nest.map_structure(lambda _: 0, self.loss),
                                       nest.map_structure(lambda _: 0, teacher_outputs))
        except (TypeError, ValueError) as error:
            raise ValueError(f"Loss structure mismatch: the losses nest unlike the outputs. {error}") from None

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Return the loss of the features."""
        return _total(self.loss, lambda loss, teacher, student: loss(teacher, student), teacher_outputs,
                      student_outputs)

    def get_config(self):
        """Return the constructor's arguments as plain data."""
        return {"loss": serialization.serialize_keras_object(self.loss),
                "teacher_layer_name": self.teacher_layer_name, "student_layer_name": self.student_layer_name}


@registry.builtin(_NAMESPACE)
class Distiller(Model):
    """Train `student` with `student_loss_weight * own loss + (1 - student_loss_weight) * distillation losses`.

    Args:
        teacher: a trained model; it is frozen.
        student: the model to train; it is what a call and `predict` compute.
        distillation_losses: a DistillationLoss or a list of them.
        distillation_loss_weights: one number for each; 1 by default.
        student_loss_weight: from 0 to 1.
        name: name of the model.

    Example:
        >>> import fitloom as tf
        >>> small, large = (tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(3)]) for _ in range(2))
        >>> distiller = tf.keras.distillation.Distiller(large, small, tf.keras.distillation.LogitsDistillation())
        >>> distiller.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> sorted(distiller.fit(tf.ones((4, 2)), tf.ones((4,), "int32"), verbose=0).history)
        ['distillation_loss', 'loss', 'student_loss', 'total_loss']
    """

    def __init__(self, teacher, student, distillation_losses, distillation_loss_weights=None, student_loss_weight=0.5,
                 name="distiller", **kwargs):
        super().__init__(name=name, **kwargs)
        for role, model in (("Teacher", teacher), ("Student", student)):
            if not isinstance(model, Model):
                raise ValueError(f"{role} must be a keras.Model, got {type(model)}")
        for what in ("inputs", "outputs"):
            _check_alike(what[:-1], getattr(teacher, what, None), getattr(student, what, None))
        if isinstance(student_loss_weight, bool) or not isinstance(student_loss_weight, (int, float)):
            raise ValueError(f"student_loss_weight must be a number, got {type(student_loss_weight)}")
        if not 0.0 <= student_loss_weight <= 1.0:
            raise ValueError(f"student_loss_weight must be between 0.0 and 1.0, got {student_loss_weight}")
        if distillation_losses is None:
            raise ValueError("'distillation_losses' cannot be `None`. Provide a distillation loss (e.g., "
                             "LogitsDistillation or FeatureDistillation) or a list of distillation losses.")
        several = isinstance(distillation_losses, (list, tuple))
        found = list(distillation_losses) if several else [distillation_losses]
        weights = [1.0] * len(found) if distillation_loss_weights is None or not several \
            else list(distillation_loss_weights)
        if len(weights) != len(found):
            raise ValueError(f"Number of distillation_loss_weights ({len(weights)}) must match number of "
                             f"distillation_losses ({len(found)})")
        for each in found:
            each.validate_model_compatibility(teacher, student)
        self.teacher, self.student, self.student_loss_weight = teacher, student, student_loss_weight
        self.distillation_losses, self.distillation_loss_weights = found, weights
        teacher.trainable = False
        self._teacher_features = _features(teacher, [each.teacher_layer_name for each in found])
        self._student_features = _features(student, [each.student_layer_name for each in found])
        self.student_loss_tracker = metrics.Mean(name="student_loss")
        self.distillation_loss_tracker = metrics.Mean(name="distillation_loss")
        self.total_loss_tracker = metrics.Mean(name="total_loss")

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """Say how the student is trained: as in Model.compile; a loss is needed."""
        if loss is None:
            raise ValueError("'loss' cannot be `None`: it is the student's own loss.")
        if metrics is not None and not isinstance(metrics, (list, tuple)):
            raise ValueError(f"metrics must be a list or tuple, got {type(metrics)}")
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def call(self, inputs, training=None, **kwargs):
        """Return the student's outputs."""
        return self.student(inputs, training=training, **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the weighted sum of the student's loss and the distillation losses of a batch."""
        y_pred = self(x, training=training) if y_pred is None else y_pred
        own, distilled = ops.constant(0.0), ops.constant(0.0)
        if self.student_loss_weight > 0.0 and y is not None:
            own = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if self.student_loss_weight < 1.0:
            distilled = self._distilled(x, y_pred, training)
        total = own * float(self.student_loss_weight) + distilled * (1.0 - float(self.student_loss_weight))
        for tracker, value in ((self.student_loss_tracker, own), (self.distillation_loss_tracker, distilled),
                               (self.total_loss_tracker, total)):
            tracker.update_state(value)
        return total

    def _distilled(self, x, y_pred, training):
        """Return the weighted sum of the distillation losses."""
        teacher = self._teacher_features(x, training=False) if self._teacher_features is not None else \
            {_OUTPUT: self.teacher(x, training=False)}
        student = self._student_features(x, training=training) if self._student_features is not None else {}
        student = {**student, _OUTPUT: y_pred}
        parts = []
        for loss, weight in zip(self.distillation_losses, self.distillation_loss_weights):
            pair = (teacher[getattr(loss, "teacher_layer_name", None) or _OUTPUT],
                    student[getattr(loss, "student_layer_name", None) or _OUTPUT])
            loss.validate_outputs(*pair)
            value = ops.convert_to_tensor(loss.compute_loss(*pair))
            if len(value.shape):
                raise ValueError(f"Distillation loss {type(loss).__name__} returned a non-scalar loss with shape "
                                 f"{tuple(value.shape)}. The compute_loss method must return a scalar tensor.")
            parts.append(value * float(weight))
        return ops.add_n(parts)

    def get_config(self):
        """Return the constructor's arguments as plain data, the models included."""
        return {"name": self.name, "trainable": self.trainable,
                "teacher": serialization.serialize_keras_object(self.teacher),
                "student": serialization.serialize_keras_object(self.student),
                "distillation_losses": [serialization.serialize_keras_object(each)
                                        for each in self.distillation_losses],
                "distillation_loss_weights": list(self.distillation_loss_weights),
                "student_loss_weight": self.student_loss_weight}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make the distiller and its models."""
        read = lambda given: serialization.deserialize_keras_object(given, custom_objects=custom_objects)
        return cls(**{**config, "teacher": read(config["teacher"]), "student": read(config["student"]),
                      "distillation_losses": [read(each) for each in config["distillation_losses"]]})


def _check_alike(what, teachers, students):
    """Raise ValueError unless symbolic tensors of the two models go together."""
    if teachers is None or students is None:
        return
    for teacher, student in zip(teachers, students):
        a, b = tuple(teacher.shape), tuple(student.shape)
        if len(a) != len(b):
            raise ValueError(f"Teacher and student {what} shapes have different dimensions. Teacher: {a}, Student: "
                             f"{b}.")
        if any(m != n and None not in (m, n) for m, n in zip(a, b)):
            raise ValueError(f"Teacher and student {what} shapes are incompatible. Teacher: {a}, Student: {b}. All "
                             "dimensions must match.")
        if teacher.dtype != student.dtype:
            raise ValueError(f"Teacher and student {what} dtypes must match. Teacher: {teacher.dtype}, Student: "
                             f"{student.dtype}.")


def _features(model, names):
    """Return a model of the outputs and the layers called `names`, or None if no layer is named."""
    names = [name for name in dict.fromkeys(names) if name]
    if not names:
        return None
    return Model(model.inputs, {_OUTPUT: model.output, **{name: model.get_layer(name).output for name in names}},
                 name=f"{model.name}_features")
