# SPDX-License-Identifier: Apache-2.0
"""The second start of a script finds its programs on disk."""
import os
import subprocess
import sys

SCRIPT = """
import jax
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
import numpy as np
import fitloom as tf
tf.keras.utils.set_random_seed(0)
model = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(16, activation="gelu"),
                             tf.keras.layers.Dense(1)])
model.compile("adam", "mse")
x = np.ones((64, 8), np.float32)
print(model.fit(x, x[:, :1], verbose=0).history["loss"], hits.count("/jax/compilation_cache/cache_hits"))
"""


def run(**environment):
    cleared = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_COMPILATION", "JAX_PERSISTENT"))}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=cleared | environment, capture_output=True, text=True,
                          timeout=240)
    assert done.returncode == 0, done.stderr
    loss, hits = done.stdout.rsplit(" ", 1)
    return loss, int(hits)


def test_the_second_start_compiles_less(tmp_path):
    first, _ = run(FITLOOM_CACHE=str(tmp_path))
    kept = list(tmp_path.rglob("*-cache"))
    second, hits = run(FITLOOM_CACHE=str(tmp_path))
    assert kept and hits and first == second
    if os.name == "posix":
        assert (kept[0].parent.stat().st_mode & 0o077) == 0


def test_it_can_be_left_off_and_a_damaged_program_is_compiled_again(tmp_path):
    loss, _ = run(FITLOOM_CACHE=str(tmp_path))
    for path in tmp_path.rglob("*-cache"):
        path.write_bytes(path.read_bytes()[:100])
    again, hits = run(FITLOOM_CACHE=str(tmp_path))
    assert again == loss
    left_off, none = run(FITLOOM_CACHE="0", XDG_CACHE_HOME=str(tmp_path / "home"))
    assert left_off == loss and none == 0 and not (tmp_path / "home").exists()
