# SPDX-License-Identifier: Apache-2.0
"""Updates whose rule is a user's Python `update_step`: the same order of work as `update`, in tensors."""
from fitloom import engine, ops


def apply(optimizer, gradients, variables, indices):
    """Update `variables` with the optimizer's `update_step`."""
    indices = range(len(variables)) if indices is None else indices
    gradients = [ops.cast(g, v.dtype) for g, v in zip(gradients, variables)]
    if optimizer.loss_scale_factor is not None:
        gradients = [g / optimizer.loss_scale_factor for g in gradients]
    every = optimizer.gradient_accumulation_steps
    if every:
        _accumulate(optimizer, gradients, variables, indices, every)
    else:
        _improve(optimizer, gradients, variables)
    if optimizer.use_ema:
        _average(optimizer, variables, indices)
    optimizer._iterations.assign_add(1)


def _improve(optimizer, gradients, variables):
    gradients = clip(optimizer, gradients)
    rate = optimizer.learning_rate
    rate = optimizer._decayed(rate.value_tensor() if getattr(type(rate), "is_variable", False) else rate)
    if optimizer.weight_decay is not None:
        for variable in variables:
            if optimizer._use_weight_decay(variable):
                variable.assign(variable - variable * optimizer.weight_decay * ops.cast(rate, variable.dtype))
    for gradient, variable in zip(gradients, variables):
        optimizer.update_step(gradient, variable, rate)


def clip(optimizer, gradients):
    """Return gradients clipped as the optimizer's settings say."""
    if optimizer.clipnorm:
        return [ops.clip_by_norm(g, optimizer.clipnorm) for g in gradients]
    if optimizer.global_clipnorm:
        return ops.clip_by_global_norm(gradients, optimizer.global_clipnorm)[0]
    if optimizer.clipvalue:
        return [ops.clip_by_value(g, -optimizer.clipvalue, optimizer.clipvalue) for g in gradients]
    return gradients


def _accumulate(optimizer, gradients, variables, indices, every):
    """Run the update always, and keep its effect only when it is due."""
    sums = [optimizer._accumulated_gradients[i] for i in indices]
    total = [s.value_tensor() + g for s, g in zip(sums, gradients)]
    due = ops.equal(ops.floormod(optimizer._iterations.value_tensor() + 1, every), 0)
    touched = [*variables, *optimizer.variables]
    before = [v.value_tensor() for v in touched]
    _improve(optimizer, [t / every for t in total], variables)
    for variable, old in zip(touched, before):
        variable.assign(ops.where(due, variable.value_tensor(), old))
    for accumulator, new in zip(sums, total):
        accumulator.assign(ops.where(due, ops.zeros_like(new), new))


def _average(optimizer, variables, indices):
    count = optimizer.iterations
    count = count.value_tensor() if getattr(type(count), "is_variable", False) else count
    overwrite = optimizer.ema_overwrite_frequency
    for i, variable in zip(indices, variables):
        average = optimizer._model_variables_moving_average[i]
        momentum = ops.cast(ops.where(ops.equal(count, 0), 0.0, optimizer.ema_momentum), variable.dtype)
        average.assign(momentum * average.value_tensor() + (1.0 - momentum) * variable.value_tensor())
        if overwrite:
            due = ops.equal(ops.floormod(count + 1, overwrite), 0)
            variable.assign(ops.where(due, average.value_tensor(), variable.value_tensor()))


def apply_rule(optimizer, gradient, variable, learning_rate):
    """Apply a built-in rule to one variable: what `super().update_step(...)` does in a user's subclass."""
    index = optimizer._get_variable_index(variable)
    slots = [optimizer.variables[p] for p in optimizer._slot_positions[index]]
    number = optimizer.iterations

    def one(gradient, value, rate, iterations, *slots):
        value, slots = optimizer.update_one(index, gradient.astype(value.dtype), value, list(slots), rate,
                                            iterations + 1)
        return (value, *slots)

    new = engine.op(one, name=f"{type(optimizer).__name__}.update_step")(
        gradient, variable, ops.cast(learning_rate, "float32"), number, *slots)
    for each, value in zip((variable, *slots), new):
        each.assign(value)
