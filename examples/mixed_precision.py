# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: compute in bfloat16 or float16, keep the weights in float32, and reach the same accuracy.

It pays on GPUs and TPUs: half the memory, and their matrix units. On a CPU it shows that nothing is lost.
"""

import fitloom as tf

TARGET_ACCURACY = 0.94


def train(policy, data):
    """Train the same model under a policy; return it with its test loss and accuracy."""
    tf.keras.mixed_precision.set_global_policy(policy)  # before the layers are made
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8)),
            tf.keras.layers.Rescaling(1 / 16),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dense(10),
            # The last step in float32: a softmax of bfloat16 numbers would lose digits.
            tf.keras.layers.Activation("softmax", dtype="float32"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=True)
    (x_train, y_train), (x_test, y_test) = data
    model.fit(x_train, y_train, epochs=15, verbose=0)
    return model, *model.evaluate(x_test, y_test, verbose=0)


def main():
    data = tf.keras.datasets.digits.load_data()
    for policy in ("float32", "mixed_bfloat16", "mixed_float16"):
        model, loss, accuracy = train(policy, data)
        dense = model.layers[2]
        print(f"{policy:14} computes in {dense.compute_dtype:8}, stores {dense.variable_dtype}, ", end="")
        print(f"{type(model.optimizer).__name__:18} test loss {loss:.5f}, accuracy {accuracy:.2%}")
        assert dense.kernel.dtype == model.output.dtype == "float32"
        assert accuracy >= TARGET_ACCURACY, f"expected at least {TARGET_ACCURACY:.0%} with {policy}"

    # float16 knows nothing below 6e-8. `compile` has wrapped the optimizer, which scales the loss up and the
    # gradients down. In a loop of your own: LossScaleOptimizer, `scale_loss` before `tape.gradient`.
    print("loss scale:", float(model.optimizer.dynamic_scale))
    tf.keras.mixed_precision.set_global_policy("float32")


if __name__ == "__main__":
    main()
