# SPDX-License-Identifier: Apache-2.0
"""The strategies where NVIDIA GPUs are present: `pytest -m gpu tests/distribute`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import numpy as np
import fitloom as tf
gpus = tf.config.list_physical_devices('GPU')
assert gpus, tf.config.list_physical_devices()
x = np.random.default_rng(0).normal(size=(45, 8, 8, 3)).astype('float32')
y = np.random.default_rng(1).integers(0, 3, 45)
results = []
for strategy in (tf.distribute.OneDeviceStrategy('/gpu:0'), tf.distribute.MirroredStrategy(),
                 tf.distribute.MirroredStrategy(shard_optimizer=True)):
    tf.keras.utils.set_random_seed(1)
    with strategy.scope():
        model = tf.keras.Sequential([tf.keras.layers.Conv2D(8, 3, use_bias=False), tf.keras.layers.BatchNormalization(),
                                     tf.keras.layers.ReLU(), tf.keras.layers.Flatten(), tf.keras.layers.Dense(3)])
        model.compile(tf.keras.optimizers.SGD(0.1),
                      tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=['accuracy'])
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0)
    results.append(history.history['loss'] + model.evaluate(x, y, verbose=0))
    print(strategy.num_replicas_in_sync, results[-1])
for other in results[1:]:
    np.testing.assert_allclose(other, results[0], rtol=2e-3)
print('fine')
"""


@pytest.mark.gpu
@pytest.mark.skipif(shutil.which("nvidia-smi") is None and not Path("/dev/nvidia0").exists(), reason="no NVIDIA GPU")
def test_strategies_on_gpus():
    environment = {k: v for k, v in os.environ.items() if k not in ("JAX_PLATFORMS", "XLA_FLAGS")}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=300, env=environment)
    assert done.stdout.strip().endswith("fine"), done.stdout + done.stderr
