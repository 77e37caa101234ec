# SPDX-License-Identifier: Apache-2.0
"""A `tf.data` pipeline: map, cache, shuffle, augmentation, batch, prefetch; and taken up where it stopped."""

import numpy as np

import fitloom as tf

TARGET_ACCURACY = 0.95


def scaled(image, label):
    """Scale the counts 0..16 to 0..1 and give the image a channel."""
    return tf.cast(image, tf.float32)[..., tf.newaxis] / 16.0, label


def moved(image, label):
    """Move the image by up to one pixel: other numbers in each epoch, the same ones in each run."""
    image = tf.image.resize_with_crop_or_pad(image, 10, 10)
    return tf.image.random_crop(image, (8, 8, 1)), label


def main():
    tf.keras.utils.set_random_seed(1)
    (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
    train_dataset = (
        tf.data.Dataset.from_tensor_slices((x_train, y_train))
        .map(scaled, num_parallel_calls=tf.data.AUTOTUNE)
        .cache()  # what comes before it runs once
        .shuffle(len(x_train), seed=7)  # a buffer as large as the data is an exact shuffle
        .map(moved, num_parallel_calls=tf.data.AUTOTUNE)  # what comes after it runs in every epoch
        .batch(32)
        .prefetch(tf.data.AUTOTUNE)  # the next batches are made while the model trains
    )
    test_dataset = tf.data.Dataset.from_tensor_slices((x_test, y_test)).map(scaled).batch(128)
    print("elements:", train_dataset.element_spec)
    print("batches an epoch:", int(train_dataset.cardinality()))

    # Where an iterator stands is a few numbers: store them, and go on in another process.
    iterator = iter(train_dataset)
    for _ in range(10):
        next(iterator)
    state = iterator.state()
    expected = next(iterator)
    again = iter(train_dataset)
    again.restore(state)
    for one, other in zip(expected, next(again)):
        assert np.array_equal(one.numpy(), other.numpy()), "a restored iterator goes on with the same batch"

    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8, 1)),
            tf.keras.layers.Conv2D(32, 3, activation="relu"),
            tf.keras.layers.Conv2D(32, 3, activation="relu"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(tf.keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train_dataset, epochs=10, validation_data=test_dataset, verbose=2)
    accuracy = model.evaluate(test_dataset, verbose=0, return_dict=True)["accuracy"]
    assert accuracy >= TARGET_ACCURACY, f"expected at least {TARGET_ACCURACY:.0%}, got {accuracy:.2%}"


if __name__ == "__main__":
    main()
