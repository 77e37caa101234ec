# SPDX-License-Identifier: Apache-2.0
"""A training loop of your own: `tf.GradientTape`, no decorators, one compiled program a step."""

import time

import fitloom as tf

TARGET_ACCURACY = 0.95
EPOCHS = 15


def main():
    tf.keras.utils.set_random_seed(1)
    (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
    train_dataset = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(len(x_train)).batch(64)
    test_dataset = tf.data.Dataset.from_tensor_slices((x_test, y_test)).batch(256)

    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8)),
            tf.keras.layers.Rescaling(1 / 16),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dropout(0.2),
            tf.keras.layers.Dense(10),
        ]
    )
    loss_fn = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    schedule = tf.keras.optimizers.schedules.CosineDecay(3e-3, len(train_dataset) * EPOCHS)
    optimizer = tf.keras.optimizers.Adam(schedule)
    train_loss = tf.keras.metrics.Mean()
    test_accuracy = tf.keras.metrics.SparseCategoricalAccuracy()

    for epoch in range(1, EPOCHS + 1):
        start = time.perf_counter()
        train_loss.reset_state()
        for x_batch, y_batch in train_dataset:
            with tf.GradientTape() as tape:
                y_pred = model(x_batch, training=True)
                loss = loss_fn(y_batch, y_pred)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            train_loss.update_state(loss)

        # Reading a number waits for the device, so it is done once an epoch and not at every step.
        test_accuracy.reset_state()
        for x_batch, y_batch in test_dataset:
            test_accuracy.update_state(y_batch, model(x_batch, training=False))
        loss, accuracy = float(train_loss.result()), float(test_accuracy.result())
        seconds = time.perf_counter() - start
        print(f"epoch {epoch:2}: loss {loss:.4f}, test accuracy {accuracy:.2%}, {seconds:.3f} s")

    assert accuracy >= TARGET_ACCURACY, f"expected a test accuracy of at least {TARGET_ACCURACY:.0%}"


if __name__ == "__main__":
    main()
