# SPDX-License-Identifier: Apache-2.0
"""Train on several devices with MirroredStrategy; the numbers are those of one device.

On a machine with GPUs leave the first two lines of `main` out. Here one CPU is divided into four devices.
"""

import numpy as np

import fitloom as tf


def create_model():
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8)),
            tf.keras.layers.Rescaling(1 / 16),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(64, activation="relu"),
            tf.keras.layers.BatchNormalization(),  # with the statistics of the whole batch, on all devices
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def custom_loop(strategy, x, y):
    """The loop for those who want each device's part in their own hands: `strategy.run`."""
    global_batch = 64
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(global_batch, drop_remainder=True)
    with strategy.scope():
        model, optimizer = create_model(), tf.keras.optimizers.Adam()
        loss_fn = tf.keras.losses.SparseCategoricalCrossentropy(reduction="none")

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            losses = loss_fn(labels, model(images, training=True))  # of this device's rows
            loss = tf.nn.compute_average_loss(losses, global_batch_size=global_batch)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))  # sums over the devices
        return loss

    for epoch in range(3):
        total, batches = 0.0, 0
        for images, labels in strategy.experimental_distribute_dataset(dataset):
            losses = strategy.run(step, args=(images, labels))
            total += strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)
            batches += 1
        print(f"own loop, epoch {epoch + 1}: loss {float(total) / batches:.4f}")
    return float(total) / batches


def main():
    cpus = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 4)

    (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
    alone = create_model()
    one = alone.fit(x_train, y_train, batch_size=64, epochs=6, verbose=0).history

    strategy = tf.distribute.MirroredStrategy()
    print("devices:", strategy.num_replicas_in_sync)
    with strategy.scope():
        model = create_model()
    # A batch is the global batch: 64 rows, 16 on each device.
    four = model.fit(x_train, y_train, batch_size=64, epochs=6, verbose=2).history

    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"loss of the last epoch: one device {one['loss'][-1]:.6f}, four {four['loss'][-1]:.6f}")
    print(f"test accuracy {accuracy:.2%}")
    assert strategy.num_replicas_in_sync == 4
    np.testing.assert_allclose(one["loss"], four["loss"], rtol=1e-3)
    assert accuracy > 0.9
    assert custom_loop(strategy, x_train, y_train) < 1.0


if __name__ == "__main__":
    main()
