# SPDX-License-Identifier: Apache-2.0
"""Checks on 8 emulated devices: run as a script, one JSON line a check. `test_devices.py` shows each as a test."""

import contextlib
import json
import os
import sys
import time
import traceback
import warnings

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

import jax
import numpy as np

import fitloom as tf

ROUNDING = 2e-5
layers = tf.keras.layers
MIRRORED = {}


def mirrored(count, **options):
    key = (count, *options)
    if key not in MIRRORED:
        MIRRORED[key] = tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(count)], **options)
    return MIRRORED[key]


def scope_of(strategy):
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def close(found, wanted, tolerance=ROUNDING):
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    assert np.isfinite(found).all()
    worst = np.max(np.abs(found - wanted) / (1 + np.abs(wanted)), initial=0)
    assert worst < tolerance, worst


def same_results(results, tolerance=ROUNDING):
    first = results[0]
    for other in results[1:]:
        assert len(other) == len(first)
        for a, b in zip(other, first):
            close(a, b, tolerance)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(45, 6, 6, 2)).astype("float32")
Y = RNG.integers(0, 3, 45)
W = RNG.uniform(0.1, 2, 45).astype("float32")
CROSS_ENTROPY = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def conv_model():
    return tf.keras.Sequential(
        [
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )


def dense_model():
    return tf.keras.Sequential(
        [layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dropout(0.3), layers.Dense(3)]
    )


def trained(strategy, make, fit, **compile_options):
    tf.keras.utils.set_random_seed(1)
    with scope_of(strategy):
        model = make()
        model.compile(
            **{"optimizer": tf.keras.optimizers.Adam(0.01), "loss": CROSS_ENTROPY, "metrics": ["accuracy"],
               "weighted_metrics": ["accuracy"], **compile_options}
        )
    history = fit(model)
    found = [history.history[name] for name in sorted(history.history)]
    found += [model.evaluate(X, Y, batch_size=16, verbose=0), model.predict(X, batch_size=16, verbose=0)]
    weights = [v.numpy() for v in model.variables if v.dtype == "float32"]
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        assert model.variables[0].store.value.sharding.num_devices == strategy.num_replicas_in_sync
    return found + weights


def on_all(make, fit, counts=(1, 2, 3, 8), **compile_options):
    def options():
        return {k: v() if callable(v) else v for k, v in compile_options.items()}

    same_results([trained(s, make, fit, **options()) for s in (None, *map(mirrored, counts))])


def check_convolutions_class_weight_and_a_short_last_batch():
    on_all(
        conv_model,
        lambda m: m.fit(X, Y, batch_size=16, epochs=2, verbose=0, class_weight={0: 1.0, 1: 2.0, 2: 0.5}),
    )


def check_dataset_with_sample_weight():
    def fit(model):
        dataset = tf.data.Dataset.from_tensor_slices((X, Y, W)).shuffle(45, seed=3).batch(16)
        return model.fit(dataset, epochs=2, verbose=0)

    on_all(dense_model, fit)


def check_gradient_accumulation_and_validation():
    def fit(model):
        return model.fit(X, Y, batch_size=13, epochs=2, verbose=0, sample_weight=W, validation_split=0.3)

    on_all(
        dense_model,
        fit,
        counts=(2, 8),
        optimizer=lambda: tf.keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    )


def check_masks():
    rng = np.random.default_rng(1)
    words = rng.integers(0, 5, (21, 7))
    targets = rng.integers(0, 3, (21, 7))

    def run(strategy):
        tf.keras.utils.set_random_seed(1)
        with scope_of(strategy):
            model = tf.keras.Sequential([layers.Embedding(5, 4, mask_zero=True), layers.SimpleRNN(5, return_sequences=True),
                                         layers.Dense(3)])
            model.compile("sgd", loss=CROSS_ENTROPY, metrics=["accuracy"])
        history = model.fit(words, targets, batch_size=8, epochs=2, verbose=0)
        return [*history.history.values(), *[v.numpy() for v in model.trainable_variables]]

    same_results([run(None), run(mirrored(3)), run(mirrored(8))])


def check_fewer_rows_than_devices():
    def fit(model):
        return model.fit(X[:3], Y[:3], batch_size=2, epochs=2, verbose=0)

    on_all(conv_model, fit, counts=(8,))


def run_loop(strategy, rows=37, batch_size=10, wrap=True):
    """The custom loop of TensorFlow's tutorial."""
    tf.keras.utils.set_random_seed(1)
    x, y = X[:rows], Y[:rows]
    with strategy.scope():
        model = dense_model_without_dropout()
        optimizer = tf.keras.optimizers.Adam(0.01)
        accuracy = tf.keras.metrics.SparseCategoricalAccuracy()
        loss_object = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    dataset = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size))

    def step(inputs):
        images, labels = inputs
        with tf.GradientTape() as tape:
            predictions = model(images, training=True)
            loss = tf.nn.compute_average_loss(loss_object(labels, predictions), global_batch_size=batch_size)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        accuracy.update_state(labels, predictions)
        return loss

    def distributed(inputs):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(step, args=(inputs,)), axis=None)

    distributed = tf.function(distributed) if wrap else distributed
    losses = []
    for _ in range(2):
        for batch in dataset:
            losses.append(float(distributed(batch)))
    return [losses, float(accuracy.result()), *[v.numpy() for v in model.variables]]


def dense_model_without_dropout():
    return tf.keras.Sequential(
        [tf.keras.Input((6, 6, 2)), layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dense(3)]
    )


def check_custom_loop():
    same_results([run_loop(mirrored(count)) for count in (1, 2, 3, 8)])


def check_custom_loop_without_tf_function():
    same_results([run_loop(mirrored(1), wrap=False), run_loop(mirrored(2), wrap=False)])


def check_custom_loop_equals_the_plain_one():
    strategy = mirrored(2)
    tf.keras.utils.set_random_seed(1)
    with strategy.scope():
        model = dense_model_without_dropout()
        optimizer = tf.keras.optimizers.Adam(0.01)
    losses = []
    for _ in range(2):
        for images, labels in tf.data.Dataset.from_tensor_slices((X[:37], Y[:37])).batch(10):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(
                    tf.keras.losses.sparse_categorical_crossentropy(labels, model(images), from_logits=True)) / 10
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            losses.append(float(loss))
    assert model.variables[0].store.value.sharding.num_devices == 2
    found = run_loop(mirrored(1))
    same_results([[losses, *[v.numpy() for v in model.variables]], [found[0], *found[2:]]])


def check_replica_context():
    strategy = mirrored(4)

    def step(x):
        context = tf.distribute.get_replica_context()
        assert context.num_replicas_in_sync == 4 and not tf.distribute.in_cross_replica_context()
        number = context.replica_id_in_sync_group
        return (tf.reduce_sum(x), context.all_reduce("sum", x), context.all_reduce(tf.distribute.ReduceOp.MEAN, x),
                context.all_gather(x, axis=0), tf.cast(number, tf.int32))

    x = np.arange(8, dtype="float32")
    values = next(iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(x))))
    sums, total, mean, every, number = strategy.run(step, args=(values,))
    assert [float(v) for v in sums.values] == [1, 5, 9, 13]
    assert [v.numpy().tolist() for v in total.values] == [[12, 16]] * 4
    assert [v.numpy().tolist() for v in mean.values] == [[3, 4]] * 4
    assert [v.numpy().tolist() for v in every.values] == [x.tolist()] * 4
    assert [int(v) for v in strategy.experimental_local_results(number)] == [0, 1, 2, 3]
    assert strategy.gather(values, axis=0).numpy().tolist() == x.tolist()
    assert float(strategy.reduce("mean", values, axis=0)) == 3.5
    assert float(strategy.reduce("sum", sums, axis=None)) == 28
    assert tf.distribute.get_strategy().num_replicas_in_sync == 1 and not tf.distribute.has_strategy()
    with strategy.scope():
        assert tf.distribute.get_strategy() is strategy and tf.distribute.get_replica_context() is None
        assert tf.distribute.in_cross_replica_context()


def check_gradient_of_all_reduce():
    strategy = mirrored(4)

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.distribute.get_replica_context().all_reduce("sum", x * x)
        return tape.gradient(y, x)

    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(float(context.replica_id_in_sync_group)))
    gradients = strategy.run(step, args=(values,))
    assert [float(v) for v in gradients.values] == [0, 8, 16, 24]      # as in TensorFlow: the cotangents are summed


def check_aggregation_of_assigned_variables():
    strategy = mirrored(4)
    with strategy.scope():
        mean = tf.Variable(1.0, aggregation=tf.VariableAggregation.MEAN)
        total = tf.Variable(1.0, aggregation=tf.VariableAggregation.SUM)
        first = tf.Variable(7.0, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
        plain = tf.Variable(0.0)

    def step():
        number = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
        mean.assign(number)
        total.assign_add(number)
        first.assign(number + 3.0)

    strategy.run(step)
    assert (float(mean), float(total), float(first)) == (1.5, 7.0, 3.0)
    strategy.run(lambda: total.assign(tf.constant(2.0)))
    assert float(total) == 8.0
    try:
        strategy.run(lambda: plain.assign(1.0))
    except ValueError as error:
        assert "aggregation" in str(error)
    else:
        raise AssertionError("an assignment without aggregation passed")


def check_random_numbers_differ_between_replicas():
    strategy = mirrored(4)
    drawn = strategy.run(lambda: tf.random.uniform((3,)))
    assert len({tuple(v.numpy().tolist()) for v in drawn.values}) == 4
    again = strategy.run(lambda: tf.random.uniform((3,)))
    assert not np.array_equal(again.values[0].numpy(), drawn.values[0].numpy())


def check_batch_normalization_in_run_is_of_the_replica():
    strategy = mirrored(2)
    with strategy.scope():
        norm = layers.BatchNormalization(momentum=0.0)
        norm.build((None, 1))
    x = np.array([[0.0], [2.0], [10.0], [12.0]], "float32")
    batch = next(iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(x))))
    y = strategy.run(lambda x: norm(x, training=True), args=(batch,))
    close(y.values[0].numpy().ravel(), [-1, 1], 1e-2)
    close(y.values[1].numpy().ravel(), [-1, 1], 1e-2)
    close(norm.moving_mean.numpy(), [6.0])              # the mean of the replicas' means


def check_uneven_exchange_says_so():
    strategy = mirrored(2)
    batch = next(iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(np.ones(3, "float32")))))
    assert [len(v) for v in strategy.experimental_local_results(batch)] == [2, 1]
    try:
        strategy.run(lambda x: tf.distribute.get_replica_context().all_reduce("sum", x), args=(batch,))
    except NotImplementedError as error:
        assert "drop_remainder" in str(error)
    else:
        raise AssertionError("an exchange between uneven replicas passed")


def check_datasets_from_function():
    strategy = mirrored(2)
    contexts = []

    def make(context):
        contexts.append(context)
        size = context.get_per_replica_batch_size(8)
        return tf.data.Dataset.range(20).batch(size, drop_remainder=True)

    dataset = strategy.distribute_datasets_from_function(make)
    found = [[v.numpy().tolist() for v in strategy.experimental_local_results(b)] for b in dataset]
    assert found == [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, 10, 11], [12, 13, 14, 15]]]
    assert contexts[0].num_replicas_in_sync == 2 and contexts[0].num_input_pipelines == 1


def check_distributed_datasets_in_fit():
    strategy = mirrored(2)
    slices = tf.data.Dataset.from_tensor_slices((X[:32], Y[:32]))
    found = []
    for make in (lambda: slices.batch(16),
                 lambda: strategy.experimental_distribute_dataset(slices.batch(16)),
                 lambda: strategy.distribute_datasets_from_function(lambda context: slices.batch(8))):
        tf.keras.utils.set_random_seed(1)
        with strategy.scope():
            model = dense_model_without_dropout()
            model.compile("sgd", CROSS_ENTROPY)
        found.append([model.fit(make(), epochs=2, verbose=0).history["loss"], *[v.numpy() for v in model.variables]])
    same_results(found)


def check_custom_train_step_in_fit():
    def run(strategy):
        class Model(tf.keras.Model):
            def __init__(self):
                super().__init__()
                self.dense, self.seen = layers.Dense(3), tf.keras.metrics.Mean(name="seen")

            def call(self, x):
                return self.dense(tf.reshape(x, (-1, 72)))

            def train_step(self, data):
                x, y = data
                with tf.GradientTape() as tape:
                    per_row = tf.keras.losses.sparse_categorical_crossentropy(y, self(x), from_logits=True)
                    loss = tf.reduce_mean(per_row) / tf.distribute.get_strategy().num_replicas_in_sync
                self.optimizer.apply_gradients(zip(tape.gradient(loss, self.trainable_variables),
                                                   self.trainable_variables))
                self.seen.update_state(tf.distribute.get_replica_context().all_reduce("sum", loss))
                return {"seen": self.seen.result()}

        tf.keras.utils.set_random_seed(1)
        with scope_of(strategy):
            model = Model()
            model.compile("adam")
        history = model.fit(X, Y, batch_size=15, epochs=2, verbose=0)
        return [*history.history.values(), *[v.numpy() for v in model.trainable_variables]]

    same_results([run(None), run(mirrored(2)), run(mirrored(8))])


def check_shard_optimizer():
    def run(strategy):
        tf.keras.utils.set_random_seed(1)
        with scope_of(strategy):
            model = tf.keras.Sequential([tf.keras.Input((64,)), layers.Dense(256), layers.Dense(64)])
            model.compile(tf.keras.optimizers.Adam(0.01), "mse")
        x = np.random.default_rng(0).normal(size=(20, 64)).astype("float32")
        history = model.fit(x, x, batch_size=8, epochs=3, verbose=0)
        return model, [history.history["loss"], *[v.numpy() for v in model.variables],
                       *[v.numpy() for v in model.optimizer.variables]]

    _, plain = run(None)
    model, sharded = run(mirrored(8, shard_optimizer=True))
    same_results([plain, sharded])
    slots = [v.store.current() for v in model.optimizer.variables if v.aval.size >= 64 * 256]
    assert len(slots) == 4
    for slot in slots:
        assert slot.addressable_shards[0].data.size * 8 == slot.size     # an eighth of the memory on each device
    assert model.variables[0].store.current().addressable_shards[0].data.size == model.variables[0].aval.size


def check_saving_and_loading_under_a_strategy():
    import tempfile

    with mirrored(2).scope():
        model = dense_model_without_dropout()
        model.compile("adam", CROSS_ENTROPY)
    model.fit(X, Y, verbose=0)
    path = os.path.join(tempfile.mkdtemp(), "model.weights.h5")
    model.save_weights(path)
    before = model.predict(X, verbose=0)
    with mirrored(3).scope():
        other = dense_model_without_dropout()
    other.load_weights(path)
    assert other.variables[0].store.current().sharding.num_devices == 3
    close(other.predict(X, verbose=0), before)


def check_tpu_strategy_on_emulated_devices():
    from fitloom.distribute import mirrored as module

    try:
        tf.distribute.TPUStrategy()
    except RuntimeError as error:
        assert "MirroredStrategy" in str(error) and "There is no TPU" in str(error)
    else:
        raise AssertionError("a TPU was found")
    real = module.tpu_devices
    module.tpu_devices = lambda: jax.devices()[:4]
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
        strategy = tf.distribute.TPUStrategy(resolver)
    finally:
        module.tpu_devices = real
    assert strategy.num_replicas_in_sync == 4
    same_results([run_loop(strategy), run_loop(mirrored(1))])


def check_errors():
    def fails(kind, words, call):
        try:
            call()
        except kind as error:
            assert all(word in str(error) for word in words), str(error)
        else:
            raise AssertionError(f"nothing was raised for {words}")

    fails(ValueError, ["no device '/gpu:3'"], lambda: tf.distribute.MirroredStrategy(["/gpu:3"]))
    fails(ValueError, ["named twice"], lambda: tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:0"]))
    fails(ValueError, ["empty list"], lambda: tf.distribute.MirroredStrategy([]))
    fails(TypeError, ["CrossDeviceOps"], lambda: tf.distribute.MirroredStrategy(cross_device_ops="nccl"))
    fails(NotImplementedError, ["MultiWorkerMirroredStrategy"], lambda: tf.distribute.ParameterServerStrategy())
    fails(NotImplementedError, ["MirroredStrategy"], lambda: tf.distribute.experimental.CentralStorageStrategy())
    fails(TypeError, ["needs a function"], lambda: mirrored(2).run(3))
    fails(ValueError, ["SUM or MEAN"], lambda: mirrored(2).reduce("max", 1.0, axis=None))

    def nested():
        with mirrored(2).scope(), mirrored(3).scope():
            pass

    fails(RuntimeError, ["do not nest"], nested)
    fails(TypeError, ["tf.data.Dataset"], lambda: mirrored(2).experimental_distribute_dataset([1, 2]))


def distributed(distribution):
    tf.keras.utils.set_random_seed(1)
    tf.keras.distribution.set_distribution(distribution)
    try:
        model = tf.keras.Sequential([tf.keras.Input((12,)), layers.Dense(16, activation="relu", name="wide"),
                                     layers.Dense(8, name="narrow")])
        model.compile("adam", "mse")
        x = np.random.default_rng(0).normal(size=(21, 12)).astype("float32")
        history = model.fit(x, x[:, :8], batch_size=8, epochs=3, verbose=0)
        return model, [history.history["loss"], model.predict(x, verbose=0), *[v.numpy() for v in model.variables],
                       *[v.numpy() for v in model.optimizer.variables]]
    finally:
        tf.keras.distribution.set_distribution(None)


def check_keras_distribution():
    from fitloom.base import naming

    keras = tf.keras.distribution
    assert keras.list_devices() == [f"cpu:{i}" for i in range(8)] and keras.get_device_count() == 8
    naming.reset()
    _, plain = distributed(None)
    naming.reset()
    model, data = distributed(keras.DataParallel())
    assert model.variables[0].store.current().sharding.num_devices == 8
    mesh = keras.DeviceMesh((2, 4), ["batch", "model"], keras.list_devices())
    layout = keras.LayoutMap(mesh)
    layout["wide/kernel"] = (None, "model")
    layout["wide/bias"] = ("model",)
    layout["narrow/kernel"] = keras.TensorLayout(["model", None])
    naming.reset()
    model, split = distributed(keras.ModelParallel(layout_map=layout, batch_dim_name="batch"))
    same_results([plain, data, split])
    kernel = model.get_layer("wide").kernel
    assert kernel.store.current().addressable_shards[0].data.shape == (12, 4)
    momentum = next(v for v in model.optimizer.variables if "wide_kernel" in v.path)
    assert momentum.store.current().addressable_shards[0].data.shape == (12, 4)
    assert keras.distribution() is None
    for wrong, words in ((lambda: keras.DeviceMesh((3,), ["batch"]), "does not match the number of devices"),
                         (lambda: keras.TensorLayout(["other"], mesh), "Invalid axis names"),
                         (lambda: keras.ModelParallel(layout_map=None), "needs a LayoutMap"),
                         (lambda: layout.__setitem__("wide/bias", (None,)), "already exist")):
        try:
            wrong()
        except ValueError as error:
            assert words in str(error), error
        else:
            raise AssertionError(words)


def check_run_eagerly():
    def run(strategy):
        tf.keras.utils.set_random_seed(1)
        with scope_of(strategy):
            model = tf.keras.Sequential([tf.keras.Input((2,)), layers.Dense(2)])
            model.compile(tf.keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
        return [model.train_on_batch(X[:6, 0, 0], X[:6, 0, 1]), *[v.numpy() for v in model.variables]]

    same_results([run(None), run(mirrored(2))])


def check_loss_scaling_in_run():
    def run(count):
        strategy = mirrored(count)
        tf.keras.utils.set_random_seed(1)
        with strategy.scope():
            model = dense_model_without_dropout()
            optimizer = tf.keras.optimizers.LossScaleOptimizer(tf.keras.optimizers.SGD(0.1), initial_scale=1024.0)

        def step(batch, poison):
            x, y = batch
            with tf.GradientTape() as tape:
                losses = tf.keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
                loss = tf.nn.compute_average_loss(losses, global_batch_size=12) + poison * tf.reduce_sum(model.weights[0])
                loss = optimizer.scale_loss(loss)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))

        dataset = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((X[:36], Y[:36])).batch(12))
        for number, batch in enumerate(dataset):
            strategy.run(step, args=(batch, tf.constant(float("inf") if number == 1 else 0.0)))
        assert float(optimizer.dynamic_scale.value) == 512.0
        return [v.numpy() for v in model.variables]

    same_results([run(1), run(2), run(4)])


def check_copies():
    import copy

    with mirrored(2).scope():
        model = dense_model_without_dropout()
        model.compile("adam", CROSS_ENTROPY)
        twin = tf.keras.models.clone_model(model)
    assert twin.variables[0].store.current().sharding.num_devices == 2
    model.fit(X[:16], Y[:16], verbose=0)
    close(copy.deepcopy(model).predict(X[:5], verbose=0), model.predict(X[:5], verbose=0))


def check_names_that_scripts_use():
    strategy = mirrored(2)
    tf.config.experimental_connect_to_cluster(tf.distribute.cluster_resolver.TPUClusterResolver(tpu=""))
    for call, words in ((lambda: tf.tpu.experimental.initialize_tpu_system(None), "There is no TPU"),
                        (lambda: tf.distribute.coordinator.ClusterCoordinator(strategy), "MultiWorkerMirroredStrategy"),
                        (lambda: tf.distribute.Server({"worker": ["a:1"]}), "no servers")):
        try:
            call()
        except (RuntimeError, NotImplementedError) as error:
            assert words in str(error), error
        else:
            raise AssertionError(words)
    with strategy.scope():
        model = dense_model_without_dropout()
        model.compile("adam", CROSS_ENTROPY)
    assert model.distribute_strategy is strategy


def check_model_made_outside_moves_to_the_scope():
    model = dense_model_without_dropout()
    with mirrored(2).scope():
        model.compile("adam", CROSS_ENTROPY)
    model.fit(X, Y, verbose=0)
    assert model.variables[0].store.current().sharding.num_devices == 2


def check_wire_is_the_gradient_once():
    from fitloom.engine.placement import Placement  # noqa: F401

    strategy = mirrored(4)
    with strategy.scope():
        model = tf.keras.Sequential([tf.keras.Input((64,)), layers.Dense(128), layers.Dense(32)])
        model.compile(tf.keras.optimizers.SGD(0.1), "mse")
    x, y = np.ones((16, 64), "float32"), np.ones((16, 32), "float32")
    model.fit(x, y, batch_size=16, verbose=0)
    program = model._programs["train"]._program
    moved = moved_bytes(program, x, y)
    gradients = sum(4 * v.aval.size for v in model.trainable_variables)
    assert gradients <= moved <= gradients + 64, (moved, gradients)


def moved_bytes(program, x, y):
    """Bytes that one replica puts into all-reduces in a step, read off the compiled program."""
    import re

    program.acquire()
    batch = jax.tree_util.tree_map(program.placement.rows, ((x, y), None))
    text = jax.jit(program._step).lower(program.values, np.uint64(1), *batch).compile().as_text()
    program.flush()
    sizes, total = {"f32": 4, "s32": 4, "pred": 1, "u32": 4, "f64": 8, "s64": 8}, 0
    for line in text.splitlines():
        if re.search(r" (all-reduce|all-reduce-start)\(", line):
            result = line.split(" all-reduce")[0].split("=", 1)[1]
            for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", result):
                total += sizes[kind] * int(np.prod([int(n) for n in shape.split(",") if n] or [1]))
    return total


def main():
    for name, check in [(n, c) for n, c in globals().items() if n.startswith("check_")]:
        if len(sys.argv) > 1 and sys.argv[1] not in name:
            continue
        begin, trouble = time.perf_counter(), None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                check()
        except BaseException:
            trouble = traceback.format_exc()
        print("CHECK " + json.dumps({"check": name, "seconds": round(time.perf_counter() - begin, 2),
                                     "trouble": trouble}), flush=True)


if __name__ == "__main__":
    main()
