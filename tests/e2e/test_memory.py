# SPDX-License-Identifier: Apache-2.0
"""Memory stays flat over many models and many steps."""
import gc
import os
import subprocess
import sys
import textwrap

import pytest

BUILD_FIT_DELETE = """
    import gc, os, resource
    import numpy as np
    import fitloom as tf
    keras = tf.keras
    x, y = np.ones((64, 256), np.float32), np.ones((64, 1), np.float32)

    def resident():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cycle():
        keras.utils.clear_session()
        model = keras.Sequential([keras.layers.Dense(512), keras.layers.Dense(1)])
        model.compile(optimizer="adam", loss="mse")
        model.fit(x, y, batch_size=16, verbose=0)
        model.predict(x, verbose=0)

    for _ in range({warm}):
        cycle()
    before = resident()
    for _ in range({cycles}):
        cycle()
    print("GROWTH", resident() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_build_fit_delete_leaves_memory_flat():
    cycles = int(os.environ.get("FITLOOM_MEMORY_CYCLES", "12"))     # the full test: 200
    program = textwrap.dedent(BUILD_FIT_DELETE).format(warm=6, cycles=cycles)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    growth = float(done.stdout.split("GROWTH")[1])
    # a model with its optimizer takes 1.6 MB; a program that stays behind takes several more
    assert growth < 0.7 * cycles + 8, f"{growth:.0f} MB more after {cycles} cycles"


def test_a_deleted_model_is_collected():
    import weakref

    import numpy as np

    import fitloom as tf
    keras = tf.keras
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    x = np.ones((8, 3), np.float32)
    model.fit(x, x[:, :1], verbose=0, validation_split=0.5)
    model.predict(x, verbose=0)
    layer, weight = weakref.ref(model.layers[0]), weakref.ref(model.weights[0])
    gone = weakref.ref(model)
    del model
    gc.collect()          # the model; its finalizers let go of the optimizer's instructions, and so of the weights
    gc.collect()
    assert gone() is None and layer() is None and weight() is None
