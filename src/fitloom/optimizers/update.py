# SPDX-License-Identifier: Apache-2.0
"""One optimizer step as a pure function of jax arrays: scale, accumulate, clip, decay, the rule, averages."""
import jax.numpy as jnp
from jax import lax

from fitloom.optimizers.arrays import clip_by_global_norm, clip_by_norm


def step(optimizer, gradients, values, state, indices, rate):
    """Return (new values, new state); see `Optimizer._pure_update`."""
    indices = range(len(values)) if indices is None else indices
    if any(_overwritten(optimizer, i) for i in indices):
        return _step_beside(optimizer, gradients, values, state, indices, rate)
    state, values = list(state), list(values)
    iterations, every = state[0], optimizer.gradient_accumulation_steps
    if rate is None:
        rate = optimizer._pure_rate(state)
    gradients = [g.astype(v.dtype) for g, v in zip(gradients, values)]
    if optimizer.loss_scale_factor is not None:
        gradients = [g / optimizer.loss_scale_factor for g in gradients]
    if every:
        values, state = _accumulate(optimizer, gradients, values, state, indices, rate)
        iterations = iterations // every
    else:
        values, state = improve(optimizer, gradients, values, state, indices, rate, iterations + 1)
    if optimizer.use_ema:
        values, state = _average(optimizer, values, state, indices, iterations)
    state[0] = state[0] + 1
    return values, state


def _overwritten(optimizer, index):
    return getattr(optimizer._trainable_variables[index], "overwrite_with_gradient", False)


def _step_beside(optimizer, gradients, values, state, indices, rate):
    """A step in which some variables take their gradient as it is (`add_weight(overwrite_with_gradient=True)`)."""
    kept = [k for k, i in enumerate(indices) if not _overwritten(optimizer, i)]
    every, number = optimizer.gradient_accumulation_steps, state[0] + 1
    due = number % every == 0 if every else True
    new = [jnp.where(due, g.astype(v.dtype), v) for g, v in zip(gradients, values)]
    improved, state = step(optimizer, [gradients[k] for k in kept], [values[k] for k in kept], state,
                           [indices[k] for k in kept], rate)
    for k, value in zip(kept, improved):
        new[k] = value
    return new, state


def improve(optimizer, gradients, values, state, indices, rate, number):
    """Clip, decay, apply the rule; `number` counts updates from 1."""
    gradients = clip(optimizer, gradients)
    values = [_decay(optimizer, i, v, rate) for i, v in zip(indices, values)]
    return optimizer.update_all(gradients, values, state, indices, rate, number)


def clip(optimizer, gradients):
    """Clip gradients as the optimizer's settings say."""
    if optimizer.clipnorm is not None and optimizer.clipnorm > 0:
        return [clip_by_norm(g, optimizer.clipnorm) for g in gradients]
    if optimizer.global_clipnorm is not None and optimizer.global_clipnorm > 0:
        return clip_by_global_norm(gradients, optimizer.global_clipnorm)
    if optimizer.clipvalue is not None and optimizer.clipvalue > 0:
        return [jnp.clip(g, -optimizer.clipvalue, optimizer.clipvalue) for g in gradients]
    return gradients


def _decay(optimizer, index, value, rate):
    variable = optimizer._trainable_variables[index]
    decay = optimizer.decay_of(variable)
    if decay is None or not optimizer._use_weight_decay(variable):
        return value
    return value - value * decay * rate.astype(value.dtype)


def _places(optimizer, first, indices):
    """Positions in the state of one list of variables, which lies there unbroken from `first`."""
    start = optimizer._position(first)
    return [start + i for i in indices]


def _accumulate(optimizer, gradients, values, state, indices, rate):
    """Add up gradients; every so many steps update with their mean and start again."""
    every = optimizer.gradient_accumulation_steps
    places = _places(optimizer, optimizer._accumulated_gradients[0], indices)
    sums = [state[p] + g for p, g in zip(places, gradients)]

    def put(state, accumulated):
        state = list(state)
        for place, value in zip(places, accumulated):
            state[place] = value
        return state

    def due(values, state, sums):
        values, state = improve(optimizer, [s / every for s in sums], values, state, indices, rate,
                                state[0] // every + 1)
        return values, put(state, [jnp.zeros_like(s) for s in sums])

    def later(values, state, sums):
        return values, put(state, sums)

    return lax.cond((state[0] + 1) % every == 0, due, later, values, state, sums)


def _average(optimizer, values, state, indices, iterations):
    """Update moving averages; every `ema_overwrite_frequency` steps variables take their value."""
    places = _places(optimizer, optimizer._model_variables_moving_average[0], indices)
    overwrite = optimizer.ema_overwrite_frequency
    due = None if not overwrite else (iterations + 1) % overwrite == 0
    new, state = [], list(state)
    for place, value in zip(places, values):
        momentum = jnp.where(iterations == 0, 0.0, optimizer.ema_momentum).astype(value.dtype)
        average = state[place] = momentum * state[place] + (1 - momentum) * value
        new.append(value if due is None else jnp.where(due, average, value))
    return new, state


SMALL_BYTES = 16384      # as the engine's limit for packed variables


def small_together(optimizer, gradients, values, state, indices, rate, step):
    """Update the small float32 variables as one flat vector; return {position: new value}, slots go into `state`.

    Two hundred leaves cost 3.25 ms one by one and 0.39 ms end to end; XLA turns the joining of neighbours in a packed
    buffer into the buffer itself.
    """
    small = [k for k, (i, v) in enumerate(zip(indices, values))
             if v.dtype == jnp.float32 and v.size * 4 <= SMALL_BYTES
             and all(state[p].shape == v.shape and state[p].dtype == v.dtype for p in optimizer._slot_positions[i])]
    if len(small) < 2:
        return {}

    def join(arrays):
        return jnp.concatenate([a.ravel() for a in arrays])

    indices = list(indices)
    columns = list(zip(*[optimizer._slot_positions[indices[k]] for k in small]))
    new, slots = optimizer.rule(join([gradients[k] for k in small]), join([values[k] for k in small]),
                                [join([state[p] for p in column]) for column in columns],
                                rate.astype(jnp.float32), step)
    found, offset = {}, 0
    for position, k in enumerate(small):
        shape, size = values[k].shape, values[k].size
        found[k] = new[offset:offset + size].reshape(shape)
        for column, slot in zip(columns, slots):
            state[column[position]] = slot[offset:offset + size].reshape(shape)
        offset += size
    return found


def large_together(optimizer, gradients, values, state, indices, rate, step, done):
    """Update the large float32 variables that are not `done` by `rule_of_many`, as `small_together` does."""
    indices = list(indices)
    places = [optimizer._slot_positions[i] for i in indices]
    large = [k for k, v in enumerate(values) if k not in done and v.dtype == jnp.float32 and v.size * 4 > SMALL_BYTES
             and all(state[p].shape == v.shape and state[p].dtype == v.dtype for p in places[k])]
    if not large:
        return {}
    columns = list(zip(*[places[k] for k in large]))
    result = optimizer.rule_of_many([gradients[k] for k in large], [values[k] for k in large],
                                    [[state[p] for p in column] for column in columns], rate.astype(jnp.float32), step)
    if result is None:
        return {}
    new, slots = result
    for column, kind in zip(columns, slots):
        for place, slot in zip(column, kind):
            state[place] = slot
    return dict(zip(large, new))
