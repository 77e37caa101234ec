# SPDX-License-Identifier: Apache-2.0
"""Twenty steps of every optimizer with several settings against Keras 3 on JAX: variables, state and its order."""

import jax
import keras
import numpy as np
import pytest

import fitloom as tf
from tolerances import PARITY

STEPS = 20
SHAPES = {"kernel": (4, 3), "bias": (3,), "embedding": (5, 2)}

PLAIN = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion", "Lamb",
         "Adafactor", "Muon", "ScheduleFreeAdamW"]
SETTINGS = [(name, {"learning_rate": 0.01}) for name in PLAIN] + [
    ("SGD", {"momentum": 0.9}), ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"clipnorm": 0.5}), ("SGD", {"global_clipnorm": 0.7}), ("SGD", {"clipvalue": 0.2}),
    ("SGD", {"loss_scale_factor": 8.0}),
    ("Adam", {"amsgrad": True, "beta_1": 0.8, "epsilon": 1e-4}),
    ("Adam", {"gradient_accumulation_steps": 3}),
    ("Adam", {"gradient_accumulation_steps": 3, "clipnorm": 0.3, "weight_decay": 0.1}),
    ("Adam", {"use_ema": True, "ema_momentum": 0.8}),
    ("Adam", {"use_ema": True, "ema_overwrite_frequency": 4}),
    ("SGD", {"use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2, "momentum": 0.5}),
    ("AdamW", {"weight_decay": 0.1, "global_clipnorm": 1.0}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "rho": 0.8}), ("RMSprop", {"centered": True}),
    ("RMSprop", {"momentum": 0.5}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "weight_decay": 0.05}),
    ("Ftrl", {"l1_regularization_strength": 0.01, "l2_regularization_strength": 0.02, "beta": 0.1,
              "l2_shrinkage_regularization_strength": 0.03, "learning_rate_power": -0.4}),
    ("Lion", {"weight_decay": 0.1, "learning_rate": 0.02}),
    ("Lamb", {"weight_decay": 0.05}),
    ("Adafactor", {"relative_step": False, "learning_rate": 0.05, "clip_threshold": 0.5}),
    ("Muon", {"rms_rate": None, "nesterov": False, "adam_lr_ratio": 0.5, "weight_decay": 0.1}),
    ("Muon", {"exclude_embeddings": False, "exclude_layers": ["kern.*"], "ns_steps": 3}),
    ("ScheduleFreeAdamW", {"warmup_steps": 6, "weight_decay": 0.05}),
]
SCHEDULES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.5}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.5, "staircase": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [3, 7], "values": [0.1, 0.05, 0.01]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 8, "power": 2.0}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "cycle": True}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "alpha": 0.1}),
    ("CosineDecay", {"initial_learning_rate": 0.01, "decay_steps": 10, "warmup_target": 0.1, "warmup_steps": 5}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 4, "m_mul": 0.8}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 4, "t_mul": 1.0, "alpha": 0.1}),
]


def start(rng):
    values = {name: rng.normal(size=shape).astype("float32") for name, shape in SHAPES.items()}
    return ([tf.keras.Variable(v, name=k) for k, v in values.items()],
            [keras.Variable(v, name=k) for k, v in values.items()])


def compare(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.numpy().shape == b.shape
        # lion's signs and Newton-Schulz steps amplify one unit in the last place
        np.testing.assert_allclose(a.numpy(), np.asarray(b), rtol=PARITY["rtol"], atol=2e-6, err_msg=b.path)


def their_steps(optimizer, variables, gradients):
    """Keras's steps in one compiled program, because its single operations are many small ones."""
    optimizer.build(variables)

    def step(carry, gradients):
        return optimizer.stateless_apply(carry[1], gradients, carry[0]), None

    def scan(*start):
        return jax.lax.scan(step, start, gradients)[0]

    values = jax.jit(scan)([v.value for v in variables], [v.value for v in optimizer.variables])
    for variable, value in zip([*variables, *optimizer.variables], [*values[0], *values[1]], strict=True):
        variable.assign(value)


def run(ours, theirs, seed=3):
    rng = np.random.default_rng(seed)
    our_variables, their_variables = start(rng)
    gradients = []
    for _ in range(STEPS):
        gradients.append([rng.normal(size=shape).astype("float32") for shape in SHAPES.values()])
        ours.apply_gradients(zip(map(tf.constant, gradients[-1]), our_variables))
    their_steps(theirs, their_variables, [np.stack(each) for each in zip(*gradients)])
    compare(our_variables, their_variables)
    compare(ours.variables, theirs.variables)
    return our_variables, their_variables


@pytest.mark.parametrize("name, settings", SETTINGS)
def test_twenty_steps(name, settings):
    ours, theirs = getattr(tf.keras.optimizers, name)(**settings), getattr(keras.optimizers, name)(**settings)
    variables, reference = run(ours, theirs)
    if settings.get("use_ema"):
        ours.finalize_variable_values(variables)
        theirs.finalize_variable_values(reference)
        compare(variables, reference)


@pytest.mark.parametrize("name", [n for n in PLAIN if n not in ("Adafactor", "Nadam")])
def test_names_of_state(name):
    ours, theirs = getattr(tf.keras.optimizers, name)(name="o"), getattr(keras.optimizers, name)(name="o")
    our_variables, their_variables = start(np.random.default_rng(0))
    ours.build(our_variables)
    theirs.build(their_variables)
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]


@pytest.mark.parametrize("name, settings", SCHEDULES)
def test_schedule(name, settings):
    ours = getattr(tf.keras.optimizers.schedules, name)(**settings)
    theirs = getattr(keras.optimizers.schedules, name)(**settings)
    reference = jax.jit(theirs)
    for step in (0, 1, 3, 4, 5, 7, 8, 11, 29):
        np.testing.assert_allclose(float(ours(step)), float(reference(step)), rtol=1e-5, atol=1e-8)
    assert ours.get_config() == theirs.get_config()


@pytest.mark.parametrize("name, settings", SCHEDULES[:1] + SCHEDULES[8:9])
def test_twenty_steps_with_a_schedule(name, settings):
    run(tf.keras.optimizers.Adam(getattr(tf.keras.optimizers.schedules, name)(**settings)),
        keras.optimizers.Adam(getattr(keras.optimizers.schedules, name)(**settings)))


def test_schedule_with_accumulation():
    settings = SCHEDULES[0][1]
    run(tf.keras.optimizers.SGD(tf.keras.optimizers.schedules.ExponentialDecay(**settings),
                                gradient_accumulation_steps=2),
        keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(**settings), gradient_accumulation_steps=2))


# Keras itself: its variables have no NumPy 2 __array__
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", PLAIN)
def test_config(name):
    ours, theirs = getattr(tf.keras.optimizers, name)(name="o"), getattr(keras.optimizers, name)(name="o")
    assert ours.get_config() == theirs.get_config()
    assert tf.keras.optimizers.serialize(ours) == keras.optimizers.serialize(theirs)
    again = tf.keras.optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert again.get_config() == ours.get_config()


def test_loss_scale_optimizer():
    rng = np.random.default_rng(0)
    ours = tf.keras.optimizers.LossScaleOptimizer(tf.keras.optimizers.Adam(0.1), 8.0, 3)
    theirs = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1), 8.0, 3)
    our_variables, their_variables = start(rng)
    theirs.build(their_variables)
    stateless_apply = jax.jit(theirs.stateless_apply)
    for step in range(12):
        gradients = [rng.normal(size=shape).astype("float32") * 8 for shape in SHAPES.values()]
        if step in (4, 9):
            gradients[1][0] = np.inf if step == 4 else np.nan
        ours.apply(map(tf.constant, gradients), our_variables)
        # Keras can do this only without state on JAX
        values, state = stateless_apply([v.value for v in theirs.variables], gradients,
                                        [v.value for v in their_variables])
        for variable, value in zip(their_variables + theirs.variables, values + state):
            variable.assign(value)
    compare(our_variables, their_variables)
    compare(ours.variables, theirs.variables)


def test_multi_optimizer():
    def build(module):
        return module.optimizers.MultiOptimizer(module.optimizers.OptimizerMap(
            module.optimizers.SGD(0.1, momentum=0.9), {"ker.*": module.optimizers.Adam(0.01)}))
    run(build(tf.keras), build(keras))


def test_every_public_name_exists():
    missing = [name for name in dir(keras.optimizers) if name[0] != "_" and not hasattr(tf.keras.optimizers, name)]
    assert not missing
    missing = [name for name in dir(keras.optimizers.schedules)
               if name[0] != "_" and not hasattr(tf.keras.optimizers.schedules, name)]
    assert not missing
