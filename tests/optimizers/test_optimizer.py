# SPDX-License-Identifier: Apache-2.0
"""The optimizer's shell: learning rates, gradients that are missing or wrong, accumulation, averages, saving."""
import copy
import pickle

import numpy as np
import pytest

import fitloom as tf
from fitloom import engine

optimizers = tf.keras.optimizers


def variables():
    return [tf.keras.Variable(np.arange(6.0, dtype="float32").reshape(2, 3) / 10, name="kernel"),
            tf.keras.Variable(np.ones(3, "float32"), name="bias")]


def gradients(seed=0):
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.normal(size=shape).astype("float32")) for shape in ((2, 3), (3,))]


def values(of):
    return [v.numpy() for v in of]


def assert_same(a, b, rtol=1e-6):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-7)


# -- learning rate


def test_learning_rate_is_a_variable():
    optimizer = optimizers.SGD(0.5)
    assert float(optimizer.learning_rate) == 0.5
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25
    optimizer.learning_rate.assign(0.125)
    v = tf.Variable(1.0)
    optimizer.apply([tf.constant(1.0)], [v])
    assert float(v) == 0.875


def test_a_changing_learning_rate_compiles_nothing():
    optimizer, v = optimizers.Adam(0.1), variables()
    for rate in (0.1, 0.2, 0.3):
        optimizer.learning_rate = rate
        optimizer.apply(gradients(), v)
        v[0].numpy()
    before = engine.STATISTICS["programs"]
    for rate in (0.4, 0.5):
        optimizer.learning_rate = rate
        optimizer.apply(gradients(), v)
        v[0].numpy()
    assert engine.STATISTICS["programs"] == before


def test_a_changed_hyperparameter_takes_effect():
    optimizer, v = optimizers.SGD(1.0, momentum=0.5), tf.Variable(0.0)
    optimizer.apply([tf.constant(1.0)], [v])
    optimizer.momentum = 0.0
    optimizer.momentum = 0.25
    optimizer.apply([tf.constant(1.0)], [v])
    assert float(v) == -1.0 - (1.0 + 0.25)


def test_custom_schedule_callable_and_user_variable():
    class Halves(optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 1.0 / (1.0 + tf.cast(step, "float32"))

        def get_config(self):
            return {}

    v = tf.Variable(0.0)
    optimizer = optimizers.SGD(Halves())
    for _ in range(3):
        optimizer.apply([tf.constant(1.0)], [v])
    assert np.isclose(float(v), -(1 + 1 / 2 + 1 / 3))
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        optimizer.learning_rate = 0.1
    rates = iter([1.0, 10.0])
    v, optimizer = tf.Variable(0.0), optimizers.SGD(lambda: next(rates))
    optimizer.apply([tf.constant(1.0)], [v])
    optimizer.apply([tf.constant(1.0)], [v])
    assert float(v) == -11.0
    mine, v = tf.Variable(0.5), tf.Variable(0.0)
    optimizer = optimizers.SGD(mine)
    optimizer.apply([tf.constant(1.0)], [v])
    mine.assign(2.0)
    optimizer.apply([tf.constant(1.0)], [v])
    assert float(v) == -2.5


@pytest.mark.parametrize("make, match", [
    (lambda: optimizers.Adam(decay=-1e-4), "decay"),
    (lambda: optimizers.Adam(learning_rat=0.1), "learning_rat"),
    (lambda: optimizers.SGD(-0.1), ">= 0"), (lambda: optimizers.SGD(float("nan")), "nan"),
    (lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0), "Only one"),
    (lambda: optimizers.SGD(gradient_accumulation_steps=1), "gradient_accumulation_steps"),
    (lambda: optimizers.SGD(use_ema=True, ema_momentum=2.0), "ema_momentum"),
    (lambda: optimizers.SGD(momentum=2.0), "momentum"), (lambda: optimizers.AdamW(weight_decay=None), "weight_decay"),
    (lambda: optimizers.get("adm"), "adam"), (lambda: optimizers.get(3), "3"),
])
def test_wrong_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("name", ["RMSProp", "rmsprop", "ADAM", "AdaGrad", "sgd", "SGD", "Ftrl"])
def test_names_in_any_case(name):
    assert type(optimizers.get(name)).__name__.lower() == name.lower()
    assert type(optimizers.get({"class_name": name, "config": {}})).__name__.lower() == name.lower()


# -- gradients


def test_all_gradients_none():
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        optimizers.SGD().apply([None, None], variables())


def test_some_gradients_none_are_said_once():
    optimizer, v = optimizers.SGD(1.0), variables()
    before = values(v)
    with pytest.warns(UserWarning, match="bias"):
        optimizer.apply([gradients()[0], None], v)
    optimizer.apply([gradients()[0], None], v)          # warnings are errors here
    assert not np.allclose(v[0].numpy(), before[0])
    np.testing.assert_array_equal(v[1].numpy(), before[1])


def test_unknown_variable_and_wrong_shape():
    optimizer, v = optimizers.Adam(), variables()
    optimizer.apply(gradients(), v)
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply([tf.constant(1.0)], [tf.Variable(1.0)])
    with pytest.raises(ValueError, match=r"kernel.*\(3,\).*\(2, 3\)"):
        optimizer.apply(gradients()[::-1], v)
    with pytest.raises(ValueError, match="1 gradients"):
        optimizer.apply(gradients()[:1], v)
    with pytest.raises(ValueError, match="pairs"):
        optimizer.apply_gradients(gradients())


def test_a_subset_of_the_variables():
    whole, part, v, w = optimizers.Adam(0.1), optimizers.Adam(0.1), variables(), variables()
    whole.build(v)
    whole.apply([gradients()[1]], [v[1]])
    part.apply([gradients()[1]], [w[1]])
    assert_same([v[1].numpy()], [w[1].numpy()])
    np.testing.assert_array_equal(v[0].numpy(), w[0].numpy())


def test_indexed_slices():
    v, w = variables()[:1], variables()[:1]
    sparse = tf.IndexedSlices(tf.constant([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]), tf.constant([1, 1]), tf.constant([2, 3]))
    optimizers.SGD(1.0).apply([sparse], v)
    optimizers.SGD(1.0).apply([tf.constant([[0.0, 0.0, 0.0], [2.0, 3.0, 4.0]])], w)
    assert_same(values(v), values(w))


def test_gradients_from_numpy():
    v = tf.Variable([1.0, 2.0])
    optimizers.SGD(1.0).apply([np.array([1.0, 1.0])], [v])
    assert v.numpy().tolist() == [0.0, 1.0]


def test_minimize():
    v, w = tf.Variable(2.0), tf.Variable(2.0)
    optimizers.SGD(0.1).minimize(lambda: v * v, [v])
    with tf.GradientTape() as tape:
        loss = w * w
    optimizers.SGD(0.1).minimize(loss, [w], tape=tape)
    assert np.isclose(float(v), 1.6) and float(v) == float(w)
    with pytest.raises(ValueError, match="tape"):
        optimizers.SGD().minimize(loss, [w])


# -- accumulation, averages, constraints


@pytest.mark.parametrize("optimizer", [optimizers.Adam(0.1), optimizers.AdamW(0.1, weight_decay=0.02)])
def test_adam_of_large_variables_is_the_formula(optimizer):
    rng = np.random.default_rng(0)
    shapes = ((90, 70), (5,), (8000,))
    arrays = [rng.normal(size=s).astype("float32") for s in shapes]
    of = [tf.keras.Variable(a) for a in arrays]
    means, squares = [0 * a for a in arrays], [0 * a for a in arrays]
    decay = optimizer.weight_decay or 0
    for t in (1, 2, 3):
        slopes = [rng.normal(size=s).astype("float32") for s in shapes]
        optimizer.apply_gradients(zip([tf.constant(g) for g in slopes], of, strict=True))
        for i, g in enumerate(slopes):
            means[i] = 0.9 * means[i] + 0.1 * g
            squares[i] = 0.999 * squares[i] + 0.001 * g**2
            rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            arrays[i] = arrays[i] * (1 - 0.1 * decay) - rate * means[i] / (np.sqrt(squares[i]) + 1e-7)
    for x, y in zip(values(of), arrays, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)      # 1 - 0.999 has four digits in float32


def test_accumulation_equals_the_large_batch():
    split, whole, v, w = optimizers.Adam(0.1, gradient_accumulation_steps=4, clipnorm=0.5), \
        optimizers.Adam(0.1, clipnorm=0.5), variables(), variables()
    for update in range(3):
        parts = [gradients(4 * update + k) for k in range(4)]
        for part in parts:
            split.apply(part, v)
        whole.apply([tf.add_n(list(g)) / 4.0 for g in zip(*parts)], w)
        assert int(split.iterations) == update + 1
    assert_same(values(v), values(w), rtol=1e-5)


def test_moving_average():
    optimizer, v, average = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), variables(), None
    for step in range(4):
        optimizer.apply(gradients(step), v)
        now = v[0].numpy()
        average = now if average is None else 0.9 * average + 0.1 * now
    optimizer.finalize_variable_values(v)
    np.testing.assert_allclose(v[0].numpy(), average, rtol=1e-5)


def test_constraint_after_the_update():
    v = tf.Variable([1.0, -1.0], constraint=lambda x: tf.maximum(x, 0.0))
    optimizers.SGD(0.1).apply([tf.constant([1.0, 1.0])], [v])
    np.testing.assert_allclose(v.numpy(), [0.9, 0.0], rtol=1e-6)


def test_weight_decay_leaves_out():
    optimizer, v = optimizers.SGD(0.1, weight_decay=0.5), variables()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([tf.zeros((2, 3)), tf.zeros(3)], v)
    assert_same(values(v), [variables()[0].numpy() * 0.95, np.ones(3)])
    with pytest.raises(ValueError, match="before"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_loss_scale_factor():
    optimizer, v = optimizers.SGD(1.0, loss_scale_factor=8.0), tf.Variable(1.0)
    assert float(optimizer.scale_loss(tf.constant(2.0))) == 16.0
    optimizer.apply([tf.constant(4.0)], [v])
    assert float(v) == 0.5


# -- users' optimizers


class Plain(optimizers.Optimizer):
    """What Keras's guide shows: slots in build, assign in update_step."""

    def __init__(self, learning_rate=0.1, momentum=0.9, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.momenta = [self.add_variable_from_reference(v, name="momentum") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        m = self.momenta[self._get_variable_index(variable)]
        self.assign(m, self.momentum * m - learning_rate * gradient)
        self.assign_add(variable, m)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


@pytest.mark.parametrize("settings", [
    {}, {"weight_decay": 0.1, "clipnorm": 0.3}, {"gradient_accumulation_steps": 2}, {"global_clipnorm": 0.2},
    {"clipvalue": 0.1}, {"use_ema": True, "ema_overwrite_frequency": 2}, {"loss_scale_factor": 4.0},
])
def test_an_optimizer_of_the_user_equals_ours(settings):
    mine, ours, v, w = Plain(**settings), optimizers.SGD(0.1, momentum=0.9, **settings), variables(), variables()
    for step in range(4):
        mine.apply_gradients(zip(gradients(step), v))
        ours.apply_gradients(zip(gradients(step), w))
    assert_same(values(v), values(w), rtol=1e-5)
    assert Plain.from_config(mine.get_config()).momentum == 0.9


def test_a_subclass_that_calls_super():
    class Noisy(optimizers.Adam):
        calls = 0

        def update_step(self, gradient, variable, learning_rate):
            type(self).calls += 1
            super().update_step(gradient * 2.0, variable, learning_rate)

    mine, ours, v, w = Noisy(0.1), optimizers.Adam(0.1), variables(), variables()
    for step in range(3):
        mine.apply(gradients(step), v)
        ours.apply([g * 2.0 for g in gradients(step)], w)
    assert_same(values(v), values(w), rtol=1e-5)
    assert Noisy.calls == 6


def test_loss_scale_around_an_optimizer_of_the_user():
    optimizer, v = optimizers.LossScaleOptimizer(Plain(1.0, 0.0), initial_scale=4.0), tf.Variable(1.0)
    optimizer.apply([tf.constant(2.0)], [v])
    optimizer.apply([tf.constant(np.inf, "float32")], [v])
    assert float(v) == 0.5 and float(optimizer.dynamic_scale) == 2.0


def test_loss_scale_by_hand():
    optimizer, v = optimizers.LossScaleOptimizer("sgd", initial_scale=8.0), tf.Variable(1.0)
    optimizer.learning_rate = 1.0
    with tf.GradientTape() as tape:
        scaled = optimizer.get_scaled_loss(v * 0.5)
    optimizer.apply_gradients(zip(optimizer.get_unscaled_gradients(tape.gradient(scaled, [v])), [v]))
    assert float(v) == 0.5 and int(optimizer.iterations) == 1


def test_multi_optimizer_with_schedules_and_functions():
    def choose(variable):
        return optimizers.SGD(lambda: 1.0) if "kernel" in variable.path else optimizers.SGD(0.5)

    optimizer, v = optimizers.MultiOptimizer(choose), variables()
    before = values(v)
    optimizer.apply([tf.ones((2, 3)), tf.ones(3)], v)
    assert_same(values(v), [before[0] - 1.0, before[1] - 0.5])
    with pytest.raises(AttributeError, match="optimizers"):
        _ = optimizer.learning_rate
    with pytest.raises(ValueError, match="several patterns"):
        optimizers.OptimizerMap("sgd", {"k.*": "adam", ".*l": "sgd"})["kernel"]


# -- saving, copies, other ways to run


def test_save_and_load():
    first, v = optimizers.Adam(0.1, amsgrad=True), variables()
    for step in range(3):
        first.apply(gradients(step), v)
    store = {}
    first.save_own_variables(store)
    second, w = optimizers.Adam(0.1, amsgrad=True), [tf.keras.Variable(x.numpy(), name=x.name) for x in v]
    second.build(w)
    second.load_own_variables(store)
    first.apply(gradients(9), v)
    second.apply(gradients(9), w)
    assert_same(values(v), values(w))
    assert int(second.iterations) == 4
    with pytest.warns(UserWarning, match="not loaded"):
        optimizers.Adam().load_own_variables(store)
    second.set_weights(first.get_weights())
    with pytest.raises(ValueError, match="build"):
        optimizers.Adam().set_weights(first.get_weights())


def test_pickle_and_deepcopy():
    optimizer, v = optimizers.Adam(0.1), variables()
    optimizer.apply(gradients(), v)
    for other in (pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer)):
        assert other.get_config() == optimizer.get_config()
        assert_same(values(other.variables), values(optimizer.variables))


def test_stateless_apply_under_jit():
    import jax
    optimizer, reference, v, w = optimizers.Adam(0.1), optimizers.Adam(0.1), variables(), variables()
    optimizer.build(v)
    state, now = [np.asarray(s) for s in optimizer.variables], values(v)
    step = jax.jit(optimizer.stateless_apply)
    for k in range(3):
        now, state = step(state, [g.numpy() for g in gradients(k)], now)
        reference.apply(gradients(k), w)
    assert_same([np.asarray(x) for x in now], values(w))
    assert_same([np.asarray(s) for s in state], values(reference.variables))
    assert_same(values(v), values(variables()))         # untouched


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Nadam", "Muon"])
def test_eager_recorded_and_tf_function_agree(name):
    def train(run):
        optimizer, v = getattr(optimizers, name)(0.1), variables()
        for k in range(3):
            run(optimizer, gradients(k), v)
        return values(v)

    recorded = train(lambda optimizer, g, v: optimizer.apply(g, v))
    tf.config.run_functions_eagerly(True)
    try:
        eager = train(lambda optimizer, g, v: optimizer.apply(g, v))
    finally:
        tf.config.run_functions_eagerly(False)
    assert_same(recorded, eager, rtol=1e-5)
    functions = {}

    def traced(optimizer, g, v):
        if not functions:
            optimizer.build(v)
            functions[0] = tf.function(lambda a, b: optimizer.apply_gradients(zip((a, b), v)))
        functions[0](*g)
    assert_same(recorded, train(traced), rtol=1e-5)


def test_bfloat16_variables_keep_their_dtype():
    v = tf.keras.Variable(np.ones(3), dtype="bfloat16", name="v")
    optimizer = optimizers.Adam(0.1)
    optimizer.apply([tf.ones(3, "bfloat16")], [v])
    assert v.dtype == "bfloat16" and all(s.dtype in ("bfloat16", "int32", "float32") for s in optimizer.variables)
    assert float(v.numpy()[0]) < 1.0


def test_float64_variables_are_updated_in_float64():
    v = tf.keras.Variable(np.ones(3), dtype="float64", name="v")
    optimizers.Adam(0.1).apply([tf.ones(3, "float64")], [v])
    assert v.dtype == "float64"


def test_legacy_addresses():
    assert optimizers.legacy.Adam is optimizers.Adam
    assert tf.keras.optimizers.experimental.SGD is optimizers.SGD


def test_nothing_keeps_finished_training_alive():
    import gc
    import weakref

    def train():
        optimizer, metric, v = optimizers.Adam(0.1), tf.keras.metrics.Mean(), variables()
        for step in range(3):
            optimizer.apply(gradients(step), v)
            metric.update_state(v[1])
        float(metric.result())
        return [weakref.ref(x) for x in (optimizer, metric, *v, *optimizer.variables, *metric.variables)]

    references = train() + train()
    gc.collect()
    assert [r() for r in references] == [None] * len(references)


def test_older_arguments():
    """Keras 2's `lr`, `decay` and `epsilon=None` mean what they meant."""
    optimizer = optimizers.SGD(lr=1.0, decay=0.5)
    v = tf.Variable(0.0)
    for _ in range(3):
        optimizer.apply([tf.constant(1.0)], [v])
    assert float(v) == pytest.approx(-(1 + 1 / 1.5 + 1 / 2))
    optimizer.lr = 4.0
    assert float(optimizer.learning_rate) == float(optimizer.lr) == 4.0
    again = optimizers.SGD.from_config(optimizer.get_config())
    assert again.decay == 0.5 and "decay" not in optimizers.SGD().get_config()
    assert optimizers.RMSprop(lr=0.001, rho=0.9, epsilon=None, decay=0.0).epsilon == tf.keras.backend.epsilon()

    class Own(optimizers.Optimizer):
        def build(self, variables):
            super().build(variables)

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)

    own, w = Own(1.0, decay=0.5), tf.Variable(0.0)
    for _ in range(3):
        own.apply([tf.constant(1.0)], [w])
    assert float(w) == pytest.approx(-(1 + 1 / 1.5 + 1 / 2))


@pytest.mark.parametrize("every", [None, 2])
def test_overwrite_with_gradient_replaces_the_value(every):
    layer = tf.keras.layers.Layer()
    scale = layer.add_weight((2,), "zeros", overwrite_with_gradient=True)
    weight = layer.add_weight((2,), "zeros")
    optimizer = tf.keras.optimizers.SGD(1.0, global_clipnorm=1e6, weight_decay=0.5, gradient_accumulation_steps=every)
    for _ in range(every or 1):
        assert float(scale[0]) == 0
        optimizer.apply([tf.constant([3.0, 4.0]), tf.constant([1.0, 1.0])], [scale, weight])
    np.testing.assert_array_equal(scale, [3, 4])
    np.testing.assert_array_equal(weight, [-1, -1])
