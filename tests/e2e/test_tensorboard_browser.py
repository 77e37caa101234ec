# SPDX-License-Identifier: Apache-2.0
"""A real run, shown by a real TensorBoard server in a real browser.

Needs `pip install fitloom[browser]` and a Chromium (`apt-get install chromium`, or FITLOOM_CHROMIUM names one); skipped
with the reason where there is none. FITLOOM_ARTIFACTS names a folder that keeps the screenshots.
"""
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

import fitloom as tf

CHROMIUM = os.environ.get("FITLOOM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The log folder of a run with scalars, histograms, images, a graph, text and hyperparameters."""
    folder = tmp_path_factory.mktemp("logs")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 8)).astype("float32"), rng.integers(0, 3, 64)
    model = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(16, "relu", name="hidden"),
                                 tf.keras.layers.Dense(3, name="classes")], name="small")
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y), callbacks=[
        tf.keras.callbacks.TensorBoard(folder, histogram_freq=1, write_images=True)])
    with tf.summary.create_file_writer(str(folder / "own")).as_default() as writer:
        for step in range(5):
            tf.summary.scalar("own/reward", step ** 2, step=step)
        tf.summary.text("own/note", "trained **well**", step=0)
        tf.summary.hparams.hparams({"units": 16})
    writer.close()
    return folder


@pytest.fixture(scope="module")
def server(logs):
    """The address of a TensorBoard server on the loopback interface."""
    output = logs / "server.txt"
    with open(output, "w") as stream:
        process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(logs),
                                    "--host", "127.0.0.1", "--port", "0", "--load_fast", "false"],
                                   stdout=stream, stderr=stream)
    try:
        address, deadline = None, time.monotonic() + 240
        while address is None:
            assert process.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
            address = re.search(r"http://127\.0\.0\.1:\d+", output.read_text())
        address = address.group()
        while not fetch(address, "/data/runs").strip().startswith("[\""):
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def fetch(address, path):
    with urllib.request.urlopen(address + path, timeout=60) as answer:
        return answer.read().decode()


def test_the_server_reads_every_record(server):
    import json
    wait_for(lambda: set(json.loads(fetch(server, "/data/runs"))) == {"own", "train", "validation"})
    tags = json.loads(fetch(server, "/data/plugin/scalars/tags"))
    assert set(tags["train"]) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    assert set(tags["validation"]) >= {"epoch_loss", "evaluation_loss_vs_iterations"} and "own/reward" in tags["own"]
    assert "small/hidden/kernel/histogram" in json.loads(fetch(server, "/data/plugin/histograms/tags"))["train"]
    points = json.loads(fetch(server, "/data/plugin/scalars/scalars?run=own&tag=own%2Freward"))
    assert [(step, value) for _, step, value in points] == [(step, step ** 2) for step in range(5)]
    graphs = json.loads(fetch(server, "/data/plugin/graphs/info"))["train"]
    assert graphs["run_graph"] and graphs["tags"]["keras"]["conceptual_graph"]
    conceptual = fetch(server, "/data/plugin/graphs/graph?run=train&tag=keras&conceptual=true")
    assert "hidden" in conceptual and "classes" in conceptual


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "The condition did not become true."
        time.sleep(0.5)


@pytest.fixture(scope="module")
def page():
    """A page of a headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium, or set FITLOOM_CHROMIUM")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install fitloom[browser]")
    with api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, timeout=120_000, args=[
                "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"])
        except api.Error as error:
            pytest.skip(f"{CHROMIUM} does not start here: {error}")
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        yield page
        browser.close()


def keep(page, name):
    folder = os.environ.get("FITLOOM_ARTIFACTS")
    if folder:
        os.makedirs(folder, exist_ok=True)
        page.wait_for_timeout(1500)                 # animations
        page.screenshot(path=os.path.join(folder, name))


def test_scalar_charts(server, page):
    page.goto(server + "/#timeseries")
    for tag in ("epoch_loss", "epoch_accuracy", "epoch_learning_rate"):
        page.get_by_text(tag, exact=True).first.wait_for()
    page.locator("scalar-card line-chart svg path").first.wait_for(state="attached")
    keep(page, "tensorboard-scalars.png")


def test_histograms(server, page):
    page.goto(server + "/#histograms")
    page.get_by_text("small/hidden/kernel/histogram").first.wait_for()
    keep(page, "tensorboard-histograms.png")


def test_graph(server, page):
    page.goto(server + "/#graphs&run=train")
    for layer in ("hidden", "classes"):
        page.locator("tf-graph-app, tf-graph-dashboard").first.wait_for(state="attached")
        page.locator(f"g.node text.nodelabel:has-text('{layer}')").first.wait_for(state="attached")
    keep(page, "tensorboard-graph.png")
