# SPDX-License-Identifier: Apache-2.0
"""model.export, tf.saved_model and TFSMLayer: functions and weights in a folder, run with and without this package."""
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fitloom as tf

keras = tf.keras


def picture_model():
    return keras.Sequential([
        keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(), keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(5)])


ALONE = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    import run
    functions = run.load(sys.argv[1])
    x = np.load(sys.argv[2])
    for rows in (1, len(x)):
        np.savez(f"{sys.argv[2]}.{rows}.npz", functions["serve"](x[:rows]))
    assert not [name for name in sys.modules if name.startswith(("fitloom", "keras", "tensorflow"))]
"""


def test_an_exported_model_runs_with_jax_alone(tmp_path):
    model, x = picture_model(), np.random.default_rng(0).random((7, 8, 8, 3), np.float32)
    model.compile("adam", "mse")
    model.fit(x, np.zeros((7, 5)), verbose=0)
    folder = tmp_path / "exported"
    model.export(folder, verbose=False)
    np.save(tmp_path / "x.npy", x)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    # -S leaves out site-packages' .pth files, by which an editable install would be found
    site = [p for p in sys.path if p.endswith("site-packages")]
    done = subprocess.run([sys.executable, "-S", "-c", textwrap.dedent(ALONE), folder, tmp_path / "x.npy"],
                          env={**environment, "PYTHONPATH": os.pathsep.join(site)}, cwd=tmp_path, capture_output=True,
                          text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = model.predict(x, verbose=0)
    for rows in (1, 7):
        found = np.load(tmp_path / f"x.npy.{rows}.npz")["arr_0"]
        np.testing.assert_allclose(found, expected[:rows], rtol=1e-5, atol=1e-5)
    assert set(os.listdir(folder)) - {"__pycache__"} == {
        "assets", "function-0.stablehlo", "manifest.json", "run.py", "variables"}


def test_load_an_exported_model(tmp_path, capsys):
    model, x = picture_model(), np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    model.export(str(tmp_path / "m"))
    assert "Saved artifact at" in capsys.readouterr().out
    model.export(str(tmp_path / "m"), verbose=False)               # once more: replaced as a whole
    assert os.listdir(tmp_path) == ["m"]
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    np.testing.assert_allclose(loaded.serve(x), model(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loaded.signatures["serving_default"](tf.constant(x))["output_0"], model(x), rtol=1e-5,
                               atol=1e-6)
    assert len(loaded.variables) == len(model.variables)
    layer = keras.layers.TFSMLayer(str(tmp_path / "m"), call_endpoint="serve")
    np.testing.assert_allclose(layer(x), model(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="endpoint 'nope' is not among"):
        keras.layers.TFSMLayer(str(tmp_path / "m"), call_endpoint="nope")
    with pytest.raises(ValueError, match="which a model file must not do"):
        keras.layers.TFSMLayer.from_config(layer.get_config())
    fresh = picture_model()
    tf.train.Checkpoint(model=fresh).restore(str(tmp_path / "m")).expect_partial()
    np.testing.assert_allclose(fresh(x), model(x), rtol=1e-6)


def test_models_of_several_inputs_and_outputs(tmp_path):
    a, b = keras.Input((3,), name="a"), keras.Input((4,), dtype="int32", name="b")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(7, 2)(b))
    model = keras.Model({"a": a, "b": b}, {"p": keras.layers.Dense(1)(a), "q": keras.layers.Dense(2)(embedded)})
    model.export(tmp_path / "m", verbose=False)
    given = {"a": np.ones((2, 3), "float32"), "b": np.ones((2, 4), "int32")}
    loaded = tf.saved_model.load(tmp_path / "m")
    for found in (loaded.serve(given), loaded.signatures["serve"](**given)):
        for name in ("p", "q"):
            np.testing.assert_allclose(found[name], model(given)[name], rtol=1e-5)
    with pytest.raises(ValueError, match="matching signature of 'serve'"):
        loaded.serve(np.ones((2, 3)))
    with pytest.raises(TypeError, match="takes a, b"):
        loaded.signatures["serve"](c=given["a"])


def test_export_refuses(tmp_path):
    model = picture_model()
    with pytest.raises(ValueError, match="format='onnx'.*jax2onnx"):
        model.export(tmp_path / "m", format="onnx")
    with pytest.raises(ValueError, match="not yet been built"):
        keras.Sequential([keras.layers.Dense(2)]).export(tmp_path / "m")

    class Mixing(keras.layers.Layer):
        def call(self, x):
            return x - tf.reduce_mean(x, axis=0)
    mixing = keras.Sequential([keras.Input((3,)), Mixing()])
    with pytest.raises(ValueError, match="mixes the rows"):
        mixing.export(tmp_path / "m")
    mixing.export(tmp_path / "m", input_signature=[tf.TensorSpec((4, 3))], verbose=False)
    x = np.random.default_rng(0).random((4, 3), np.float32)
    np.testing.assert_allclose(tf.saved_model.load(tmp_path / "m").serve(x), mixing(x), atol=1e-6)
    sequences = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(2)])
    with pytest.raises(ValueError, match="only the first axis may be open"):
        sequences.export(tmp_path / "n")
    assert os.listdir(tmp_path) == ["m"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError):
        model.export(tmp_path / "mine")


class Adder(tf.Module):
    def __init__(self):
        super().__init__()
        self.total = tf.Variable(1.0)
        self.parts = [tf.Variable([1.0, 2.0]), tf.Variable([3.0, 4.0], trainable=False)]

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def add(self, x):
        self.total.assign_add(x)
        return self.total * 1.0

    @tf.function
    def scale(self, x, twice=False):
        return {"scaled": x * self.parts[0] * (2.0 if twice else 1.0)}


def test_a_module(tmp_path):
    module = Adder()
    module.scale(tf.constant([1.0, 1.0]))
    module.scale(tf.constant([1.0, 1.0]), twice=True)
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.add)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    assert float(loaded.add(tf.constant(2.0))) == 3.0 and float(loaded.total) == 3.0
    assert float(loaded.add(2.0)) == 5.0 and float(module.total) == 1.0
    assert loaded.scale(tf.constant([2.0, 2.0]))["scaled"].numpy().tolist() == [2.0, 4.0]
    assert loaded.scale(tf.constant([2.0, 2.0]), twice=True)["scaled"].numpy().tolist() == [4.0, 8.0]
    with pytest.raises(ValueError, match="saved with"):
        loaded.scale(tf.constant([2.0, 2.0, 2.0]))
    assert [v.numpy().tolist() for v in loaded.parts] == [[1.0, 2.0], [3.0, 4.0]]
    assert len(loaded.trainable_variables) == 2 and list(loaded.signatures) == ["serving_default"]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded.scale(tf.constant([2.0, 2.0]))["scaled"])
    assert tape.gradient(loss, loaded.parts[0]).numpy().tolist() == [2.0, 2.0]
    assert tf.saved_model.contains_saved_model(tmp_path / "m")


def test_export_archive(tmp_path):
    model = picture_model()
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("features", lambda x: model.layers[0](x), [tf.TensorSpec((None, 8, 8, 3))])
    archive.add_endpoint("call", model.call, [tf.TensorSpec((None, 8, 8, 3))])
    archive.write_out(tmp_path / "m", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "m")
    x = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    assert loaded.features(x).shape == (3, 6, 6, 4)
    np.testing.assert_allclose(loaded.call(x), model(x), rtol=1e-5, atol=1e-6)


def test_damaged_and_foreign_folders(tmp_path):
    with pytest.raises(tf.errors.NotFoundError, match="does not exist"):
        tf.saved_model.load(tmp_path / "m")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ValueError, match="TensorFlow's own SavedModel"):
        tf.saved_model.load(tmp_path / "t")
    module = Adder()
    tf.saved_model.save(module, tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    del manifest["trainable"]
    (tmp_path / "m" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(tf.errors.DataLossError):
        tf.saved_model.load(tmp_path / "m")


def test_the_saved_model_guide(tmp_path):
    class Custom(tf.Module):
        def __init__(self):
            super().__init__()
            self.v = tf.Variable(1.0)

        @tf.function
        def __call__(self, x):
            return x * self.v

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
        def mutate(self, new_v):
            self.v.assign(new_v)

        @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
        def of_any_rank(self, x):
            return {"doubled": x * 2.0}

    module = Custom()
    module(tf.constant(0.0))
    array = module.__call__.get_concrete_function(tf.TensorSpec([None], tf.float32))
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": array})
    imported = tf.saved_model.load(str(tmp_path / "m"))
    with pytest.warns(UserWarning, match="'any' is of unknown rank"):
        tf.saved_model.save(module, str(tmp_path / "m2"), signatures={
            "any": module.__call__.get_concrete_function(tf.TensorSpec(None, tf.float32))})
    for shape in ([], [3]):
        assert imported.of_any_rank(tf.ones(shape))["doubled"].numpy().tolist() == np.full(shape, 2.0).tolist()
    assert float(imported(tf.constant(3.0))) == 3.0
    imported.mutate(tf.constant(2.0))
    assert float(imported(tf.constant(3.0))) == 6.0
    optimizer = tf.keras.optimizers.SGD(0.05)
    for _ in range(10):
        with tf.GradientTape() as tape:
            loss = (10.0 - imported(tf.constant(2.0))) ** 2
        variables = tape.watched_variables()
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    assert abs(float(imported.v) - 5.0) < 0.1
    found = imported.signatures["serving_default"](tf.constant([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found["output_0"], np.array([1.0, 2.0, 3.0]) * float(imported.v), rtol=1e-6)


def test_functions_of_text_are_left_out_with_a_word(tmp_path):
    class Lengths(tf.Module):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(2.0)

        @tf.function
        def __call__(self, x):
            return tf.strings.length(x) if x.dtype == tf.string else self.scale * x
    module = Lengths()
    module(tf.constant("abc")), module(tf.constant(3.0))
    with pytest.warns(UserWarning, match="'__call__' is left out for text: .* vectorization"):
        tf.saved_model.save(module, tmp_path / "saved")
    assert float(tf.saved_model.load(tmp_path / "saved")(tf.constant(4.0))) == 8
    text = module.__call__.get_concrete_function(tf.TensorSpec([], tf.string))
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ValueError, match="'serving_default' takes text"):
        tf.saved_model.save(module, tmp_path / "other", signatures=text)


def test_signatures_asked_for_are_saved(tmp_path):
    class Scaled(tf.Module):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(2.0)
            self.__call__.get_concrete_function(x=tf.TensorSpec([None, 5], tf.float32))

        @tf.function
        def __call__(self, x):
            return {"scaled": self.scale * x}
    module = Scaled()
    module(tf.ones([3, 5]))
    tf.saved_model.save(module, tmp_path / "saved")
    loaded = tf.saved_model.load(tmp_path / "saved")
    assert loaded(tf.ones([7, 5]))["scaled"].shape == (7, 5)
    assert len(json.loads((tmp_path / "saved" / "manifest.json").read_text())["functions"]["__call__"]) == 1


def test_functions_that_make_text_say_so(tmp_path):
    class Named(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2])])
        def __call__(self, x):
            return tf.gather(["cat", "dog"], tf.argmax(x, -1))
    with pytest.raises(ValueError, match="'__call__' cannot be exported, .* makes text"):
        tf.saved_model.save(Named(), tmp_path / "saved")
