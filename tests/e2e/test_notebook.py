# SPDX-License-Identifier: Apache-2.0
"""`%load_ext tensorboard` and `%tensorboard --logdir logs/` in a real Jupyter kernel, on the logs of a run."""
import os
import sys

import pytest

TRAIN = """
import numpy as np
import fitloom as tf
model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(1)])
model.compile("sgd", "mse")
x = np.ones((8, 4), "float32")
model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=[tf.keras.callbacks.TensorBoard("logs/")])
"""
LOOK = """
import json, time, urllib.request
from tensorboard import manager
(info,) = [each for each in manager.get_all() if each.logdir == "logs/"]
for _ in range(60):
    runs = json.loads(urllib.request.urlopen(f"http://localhost:{info.port}/data/runs").read())
    if runs:
        break
    time.sleep(0.5)
print("runs", runs)
import os, signal
os.kill(info.pid, signal.SIGTERM)
"""


@pytest.mark.filterwarnings("default")
def test_tensorboard_magic(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="no nbclient: pip install fitloom[notebook]")
    pytest.importorskip("ipykernel", reason="no ipykernel: pip install fitloom[notebook]")
    import nbformat
    from jupyter_client import KernelManager
    monkeypatch.setenv("TMPDIR", str(tmp_path))               # where tensorboard notes its servers
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    cells = [TRAIN, "%load_ext tensorboard", "%tensorboard --logdir logs/ --host localhost --load_fast false", LOOK]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client = nbclient.NotebookClient(notebook, timeout=120, km=manager, resources={"metadata": {"path": str(tmp_path)}})
    try:
        client.execute(cleanup_kc=False)
    finally:
        client.kc.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        manager.context.destroy()
    shown = notebook.cells[2].outputs
    assert any("iframe" in output.get("data", {}).get("text/html", "") for output in shown), shown
    assert "runs ['train']" in "".join(output.get("text", "") for output in notebook.cells[3].outputs)
