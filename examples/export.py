# SPDX-License-Identifier: Apache-2.0
"""What leaves a run: `.keras`, weights for other tools, and a program that JAX alone runs."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import fitloom as tf

# A page that does not know Fitloom: `run.py` is part of the exported folder and imports NumPy and jax.
SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, run
answers = run.load(sys.argv[1])["serve"](np.load(sys.argv[2]))
assert "fitloom" not in sys.modules
np.save(sys.argv[3], np.asarray(answers))
"""


@tf.keras.saving.register_keras_serializable(package="example")
class Halve(tf.keras.layers.Layer):
    """A layer of our own; it is registered, so a file may name it."""

    def call(self, x):
        return x * 0.5


def main():
    tf.keras.utils.set_random_seed(1)
    (x_train, y_train), (x_test, _) = tf.keras.datasets.digits.load_data()
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8)),
            tf.keras.layers.Rescaling(1 / 16),
            Halve(),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(32, activation="relu"),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=3, verbose=2)
    expected = model.predict(x_test, verbose=0)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        # The whole model with its optimizer: training goes on as if nothing had happened. Keras reads it, too.
        model.save(folder / "digits.keras")
        again = tf.keras.models.load_model(folder / "digits.keras")
        assert np.array_equal(again.predict(x_test, verbose=0), expected)
        assert int(again.optimizer.iterations) == int(model.optimizer.iterations)

        # The weights alone, for a model that the code makes; and as safetensors, which every framework reads.
        fresh = tf.keras.models.clone_model(model)
        for file in ("digits.weights.h5", "digits.safetensors"):
            model.save_weights(folder / file)
            fresh.load_weights(folder / file)
            assert np.array_equal(fresh.predict(x_test, verbose=0), expected)

        # A folder with a StableHLO program: no Python of ours is needed to run it, and any batch size will do.
        model.export(folder / "served")
        np.save(folder / "questions.npy", x_test.astype("float32"))
        files = [str(folder / file) for file in ("served", "questions.npy", "answers.npy")]
        subprocess.run([sys.executable, "-c", SERVER, *files], check=True)
        answers = np.load(folder / "answers.npy")
        np.testing.assert_allclose(answers, expected, atol=1e-5)

        for path in sorted(folder.rglob("*")):
            if path.is_file():
                print(f"{path.stat().st_size:9,} bytes {path.relative_to(folder)}")
    print("all of them give the same answers")


if __name__ == "__main__":
    main()
