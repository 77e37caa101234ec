# SPDX-License-Identifier: Apache-2.0
"""Saving and loading models and weights: what travels, what is refused, what messages say."""
import io
import json
import warnings

import h5py
import numpy as np
import pytest

import fitloom as tf

layers = tf.keras.layers
NAMES = ["m.keras", "m.h5"]


def small(units=3, name=None):
    model = tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(units, name="first"), layers.Dense(1, name="last")],
                                name=name)
    model.compile(tf.keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    return model


def data(rng):
    return rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 1)).astype("float32")


def test_the_sentence_of_the_mission(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    x, y = data(rng)
    model = small()
    model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0,
              callbacks=[tf.keras.callbacks.ModelCheckpoint('best_model.h5', save_best_only=True)])
    copy = tf.keras.models.load_model('best_model.h5')
    np.testing.assert_array_equal(copy.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("name", NAMES)
def test_training_goes_on(tmp_path, rng, name):
    x, y = data(rng)
    model = small()
    model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    model.save(tmp_path / name)
    copy = tf.keras.models.load_model(tmp_path / name)
    assert copy.optimizer.get_config() == model.optimizer.get_config()
    a = model.fit(x, y, epochs=3, verbose=0, shuffle=False).history
    b = copy.fit(x, y, epochs=3, verbose=0, shuffle=False).history
    assert a == b
    for v, w in zip([*model.weights, *model.optimizer.variables], [*copy.weights, *copy.optimizer.variables]):
        np.testing.assert_array_equal(v.numpy(), w.numpy())


@pytest.mark.parametrize("loss", ["mse", "MAE", "binary_crossentropy", tf.keras.losses.Huber(0.3), "msle", ["mse"],
                                  {"last": "mape"}])
@pytest.mark.parametrize("name", NAMES)
def test_compiled_losses_come_back(tmp_path, rng, name, loss):
    x, y = data(rng)
    i = tf.keras.Input((4,))
    model = tf.keras.Model(i, layers.Dense(1, name="last")(i))
    model.compile("sgd", loss, metrics=["mae", tf.keras.metrics.MeanSquaredError(name="second")], weighted_metrics=["mse"])
    model.save(tmp_path / name)
    copy = tf.keras.models.load_model(tmp_path / name)
    assert copy.evaluate(x, y, verbose=0, return_dict=True) == model.evaluate(x, y, verbose=0, return_dict=True)


@pytest.mark.parametrize("name", NAMES)
def test_without_compiling(tmp_path, name):
    small().save(tmp_path / name)
    assert not tf.keras.models.load_model(tmp_path / name, compile=False).compiled
    small().save(tmp_path / name, include_optimizer=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf.keras.models.load_model(tmp_path / name)


def test_streams_and_paths(tmp_path):
    stream = io.BytesIO()
    model = small()
    tf.keras.models.save_model(model, stream)
    stream.seek(0)
    assert tf.keras.models.load_model(stream).count_params() == model.count_params()
    model.save(str(tmp_path / "a.keras"))
    tf.keras.saving.save_model(model, tmp_path / "a.hdf5")
    assert tf.keras.saving.load_model(str(tmp_path / "a.hdf5")).count_params() == model.count_params()


def test_names_and_overwriting(tmp_path):
    model = small()
    for path in ("m.txt", "m", "m.tf", "m.weights"):
        with pytest.raises(ValueError, match="extension"):
            model.save(tmp_path / path)
    for path in ("m.h5", "m.keras", "m"):
        with pytest.raises(ValueError, match="weights.h5"):
            model.save_weights(tmp_path / path)
    model.save(tmp_path / "m.keras")
    with pytest.raises(FileExistsError, match="overwrite=False"):
        model.save(tmp_path / "m.keras", overwrite=False)
    with pytest.raises(FileNotFoundError, match="No file"):
        tf.keras.models.load_model(tmp_path / "none.keras")
    with pytest.raises(ValueError, match="folder"):
        tf.keras.models.load_model(tmp_path)
    (tmp_path / "x.keras").write_text("no zip")
    with pytest.raises(ValueError, match="not a readable `.keras` file"):
        tf.keras.models.load_model(tmp_path / "x.keras")
    (tmp_path / "x.h5").write_text("no hdf5")
    with pytest.raises(ValueError, match="not a readable HDF5 file"):
        tf.keras.models.load_model(tmp_path / "x.h5")


def test_the_table_of_mismatches(tmp_path):
    small(3).save_weights(tmp_path / "m.weights.h5")
    other = small(5)
    before = other.get_weights()
    with pytest.raises(ValueError) as error:
        other.load_weights(tmp_path / "m.weights.h5")
    text = str(error.value)
    assert "in the file" in text and "in the model" in text and "first" not in text.splitlines()[0]
    assert "layers/dense/kernel" in text and "(4, 3) float32" in text and "(4, 5) float32" in text
    assert "layers/dense_1/kernel" in text and len(text.splitlines()) <= 15
    for a, b in zip(before, other.get_weights()):
        np.testing.assert_array_equal(a, b)
    small(3).save(tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"\(4, 3\) float32"):
        other.load_weights(tmp_path / "m.h5")
    with pytest.raises(ValueError, match="Layer count mismatch"):
        tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(3)]).load_weights(tmp_path / "m.h5")


def test_skip_mismatch(tmp_path):
    source, other = small(3), small(5)
    source.get_layer("last").bias.assign([7.0])
    source.save_weights(tmp_path / "m.weights.h5")
    source.save(tmp_path / "m.h5")
    third = tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    with pytest.warns(UserWarning, match="skipped"):
        third.load_weights(tmp_path / "m.weights.h5", skip_mismatch=True)
    np.testing.assert_array_equal(third.layers[0].kernel.numpy(), source.layers[0].kernel.numpy())
    with pytest.warns(UserWarning, match="skipped"):
        other.load_weights(tmp_path / "m.h5", skip_mismatch=True)


def test_by_name(tmp_path):
    source = small()
    source.save(tmp_path / "m.h5")
    other = tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(3, name="new"), layers.Dense(3, name="first2"),
                                 layers.Dense(1, name="last")])
    before = other.get_layer("new").kernel.numpy()
    other.load_weights(tmp_path / "m.h5", by_name=True)
    np.testing.assert_array_equal(other.get_layer("last").kernel.numpy(), source.get_layer("last").kernel.numpy())
    np.testing.assert_array_equal(other.get_layer("new").kernel.numpy(), before)
    source.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match="by_name"):
        other.load_weights(tmp_path / "m.weights.h5", by_name=True)


class Block(layers.Layer):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units, self.inner = units, [layers.Dense(units), layers.Dense(units)]

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        for layer in self.inner:
            layer.build(shape)
            shape = (*shape[:-1], self.units)

    def call(self, x):
        for layer in self.inner:
            x = layer(x)
        return x * self.scale

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@tf.keras.saving.register_keras_serializable("test_model_files")
class Whole(tf.keras.Model):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units, self.block, self.zebra = units, Block(units), layers.Dense(1)

    def call(self, x, training=False):
        return self.zebra(self.block(x))

    def get_config(self):
        return {"units": self.units}


@pytest.mark.parametrize("name", NAMES)
def test_subclassed(tmp_path, rng, name):
    x, y = data(rng)
    model = Whole(3)
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    other = Whole(3)
    with pytest.raises(ValueError, match="not yet been built"):
        other.load_weights(tmp_path / "m.weights.h5")
    other(x)
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other(x).numpy(), model(x).numpy())
    model.save(tmp_path / name)
    copy = tf.keras.models.load_model(tmp_path / name, custom_objects={"Block": Block})
    np.testing.assert_array_equal(copy(x).numpy(), model(x).numpy())
    assert copy.optimizer.iterations.numpy() == 1
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert sorted(file) == ["block", "layers", "optimizer", "vars"]     # 'zebra' comes after 'layers'
        assert list(file["layers"]) == ["dense"]


@pytest.mark.filterwarnings("ignore:No training configuration")
def test_custom_objects_by_each_way(tmp_path, rng):
    x, _ = data(rng)

    def double(x):
        return x * 2

    i = tf.keras.Input((4,))
    model = tf.keras.Model(i, layers.Dense(2, activation=double)(Block(2)(i)))
    for name in NAMES:
        model.save(tmp_path / name)
        with pytest.raises((TypeError, ValueError), match="Block"):
            tf.keras.models.load_model(tmp_path / name)
        objects = {"Block": Block, "double": double}
        copies = [tf.keras.models.load_model(tmp_path / name, custom_objects=objects)]
        with tf.keras.utils.custom_object_scope(objects):
            copies.append(tf.keras.models.load_model(tmp_path / name))
        tf.keras.utils.get_custom_objects().update(objects)
        try:
            copies.append(tf.keras.models.load_model(tmp_path / name))
        finally:
            for key in objects:
                del tf.keras.utils.get_custom_objects()[key]
        for copy in copies:
            np.testing.assert_array_equal(copy(x).numpy(), model(x).numpy())


def test_json(rng):
    x, _ = data(rng)
    model = small()
    copy = tf.keras.models.model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy(x).numpy(), model(x).numpy())
    assert json.loads(model.to_json())["class_name"] == "Sequential"


class OwnState(layers.Layer):
    """Keeps a table beside its variables."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table = np.zeros(3)

    def build(self, shape):
        self.w = self.add_weight(shape=(2,), name="w")

    def call(self, x):
        return x * self.w[0]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["table"] = self.table

    def load_own_variables(self, store):
        self.w.assign(store["0"])
        self.table = np.array(store["table"])
        if self.table[0] > 100:
            raise RuntimeError("no such table")


def test_own_state_and_failure(tmp_path):
    def make(value):
        model = tf.keras.Sequential([tf.keras.Input((4,)), OwnState(), layers.Dense(1)])
        model.layers[0].table = np.full(3, value)
        return model
    source, target = make(5.0), make(0.0)
    source.save_weights(tmp_path / "m.weights.h5")
    target.load_weights(tmp_path / "m.weights.h5")
    assert target.layers[0].table[0] == 5 and np.array_equal(target.layers[0].w.numpy(), source.layers[0].w.numpy())
    bad = make(500.0)
    bad.save_weights(tmp_path / "m.weights.h5")
    before = target.get_weights()
    with pytest.raises(ValueError, match="no such table"):
        target.load_weights(tmp_path / "m.weights.h5")
    assert target.layers[0].table[0] == 5
    for a, b in zip(before, target.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore:.*text_vectorization:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_vocabularies_travel(tmp_path, name):
    text = layers.TextVectorization(output_mode="int", output_sequence_length=4)
    text.adapt(["a b c", "b c d e"])
    lookup = layers.StringLookup(vocabulary=["x", "y"])
    number = layers.IntegerLookup()
    number.adapt(np.array([3, 3, 7]))
    scale = layers.Normalization()
    scale.adapt(np.array([[1.0, 2.0], [3.0, 6.0]], "float32"))
    for layer, data in ((text, ["c b zz", "a"]), (lookup, [["x"], ["z"]]), (number, [[7], [4]]),
                        (scale, [[1.0, 2.0], [2.0, 2.0]])):
        data = tf.constant(data)
        i = tf.keras.Input(data.shape[1:], dtype=data.dtype)
        model = tf.keras.Model(i, layer(i))
        model.save(tmp_path / name)
        copy = tf.keras.models.load_model(tmp_path / name, compile=False)
        np.testing.assert_array_equal(copy(data).numpy(), model(data).numpy())


def test_a_layer_with_assets(tmp_path):
    class Words(layers.Layer):
        words = ""

        def call(self, x):
            return x

        def save_assets(self, dir_path):
            with open(f"{dir_path}/words.txt", "w") as file:
                file.write(self.words)

        def load_assets(self, dir_path):
            with open(f"{dir_path}/words.txt") as file:
                self.words = file.read()
    model = tf.keras.Sequential([tf.keras.Input((4,)), Words()])
    model.layers[0].words = "hello"
    model.save(tmp_path / "m.keras")
    assert tf.keras.models.load_model(tmp_path / "m.keras", {"Words": Words}).layers[0].words == "hello"


def test_dtypes_travel(tmp_path):
    class Many(layers.Layer):
        def build(self, shape):
            self.all = [self.add_weight(shape=(3,), dtype=dtype, initializer="ones", trainable=False, name=dtype)
                        for dtype in ("float16", "bfloat16", "float64", "int8", "uint8", "int64", "bool", "float8_e4m3fn")]

        def call(self, x):
            return x
    model = tf.keras.Sequential([tf.keras.Input((4,)), Many()])
    model.save_weights(tmp_path / "m.weights.h5")
    before = model.get_weights()
    model.set_weights([np.zeros_like(w) for w in before])
    model.load_weights(tmp_path / "m.weights.h5")
    for a, b in zip(before, model.get_weights()):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


def test_files_of_keras_2(tmp_path, rng):
    """The layout of tf.keras 2: modules left out, batch_input_shape, 'kernel:0', lists for axes."""
    kernel, bias = rng.normal(size=(4, 3)).astype("float32"), rng.normal(size=3).astype("float32")
    gamma = [np.full(3, k, "float32") for k in (2, 1, 0, 4)]

    def entry(name, **config):
        return {"class_name": name, "config": {"name": name.lower(), "trainable": True, "dtype": "float32", **config}}
    glorot = {"class_name": "GlorotUniform", "config": {"seed": None}}
    config = {"class_name": "Sequential", "config": {"name": "sequential", "layers": [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "sparse": False,
                                                "ragged": False, "name": "input_1"}},
        entry("Dense", units=3, activation="relu", use_bias=True, kernel_initializer=glorot,
              bias_initializer={"class_name": "Zeros", "config": {}}, kernel_regularizer=None, bias_regularizer=None,
              activity_regularizer=None, kernel_constraint=None, bias_constraint=None),
        entry("BatchNormalization", axis=[1], momentum=0.99, epsilon=0.001, center=True, scale=True),
        entry("Dropout", rate=0.5, noise_shape=None, seed=None)]}}
    training = {"loss": "mse", "metrics": [[{"class_name": "MeanMetricWrapper", "config": {
        "name": "accuracy", "dtype": "float32", "fn": "binary_accuracy"}}]], "weighted_metrics": None,
        "loss_weights": None, "optimizer_config": {"class_name": "Adam", "config": {
            "name": "Adam", "learning_rate": 0.01, "decay": 0.0, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7,
            "amsgrad": False}}}
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = b"2.4.0", b"tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["training_config"] = json.dumps(training).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"dense", b"batchnormalization", b"dropout"]
        for layer, arrays in (("dense", {"kernel:0": kernel, "bias:0": bias}), ("dropout", {}), (
                "batchnormalization", dict(zip(("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"), gamma)))):
            part = group.create_group(layer)
            part.attrs["weight_names"] = [f"{layer}/{name}".encode() for name in arrays]
            for name, value in arrays.items():
                part[f"{layer}/{name}"] = value
    model = tf.keras.models.load_model(tmp_path / "old.h5")
    x = rng.normal(size=(5, 4)).astype("float32")
    expected = np.maximum(x @ kernel + bias, 0) / np.sqrt(4 + 1e-3) * 2 + 1
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert model.optimizer.learning_rate.numpy() == np.float32(0.01) and model.loss == "mse"


def test_bytes_are_the_same_again(tmp_path):
    """Files of the same model differ in the date only."""
    model = small(name="same")
    for path in ("a", "b"):
        model.save_weights(tmp_path / f"{path}.weights.h5")
    assert (tmp_path / "a.weights.h5").read_bytes() == (tmp_path / "b.weights.h5").read_bytes()


def test_the_file_editor(tmp_path, capsys):
    model = small()
    model.save(tmp_path / "m.keras")
    editor = tf.keras.saving.KerasFileEditor(str(tmp_path / "m.keras"))
    editor.summary()
    assert "layers/dense_1" in capsys.readouterr().out and list(editor.weights_dict) == ["layers", "optimizer"]
    assert editor.compare(model) == {"status": "success", "error_count": 0, "match_count": 6}
    editor.delete_object("optimizer")
    editor.delete_weight("layers/dense", "1")
    editor.add_weights("dense", {"1": np.full(3, 4.0, "float32")})
    editor.rename_object("dense_1", "other")
    assert editor.compare(model)["error_count"] == 3
    editor.rename_object("layers/other", "layers/dense_1")
    editor.add_object("layers/dense_2", {"0": np.zeros(2)})
    with pytest.raises(ValueError, match="is not in the file"):
        editor.delete_object("nothing")
    editor.delete_object("layers/dense_2")
    editor.resave_weights(tmp_path / "e.weights.h5")
    model.load_weights(tmp_path / "e.weights.h5")
    assert (model.layers[0].bias.numpy() == 4).all()


@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5"])
def test_weights_of_keras_2(tmp_path, rng, name):
    """Layers listed at the root, as in the files of tf.keras.applications."""
    arrays = {"first": [rng.normal(size=(4, 3)), rng.normal(size=3)], "flat": [],
              "last": [rng.normal(size=(3, 1)), rng.normal(size=1)]}
    with h5py.File(tmp_path / name, "w") as file:
        file.attrs["layer_names"] = [key.encode() for key in arrays]
        for layer, values in arrays.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{kind}:0".encode() for kind, _ in zip(("kernel", "bias"), values)]
            for kind, value in zip(("kernel", "bias"), values):
                group[f"{layer}/{kind}:0"] = value.astype("float32")
    model = small()
    model.load_weights(tmp_path / name)
    for found, expected in zip(model.get_weights(), arrays["first"] + arrays["last"]):
        np.testing.assert_array_equal(found, expected.astype("float32"))


def test_what_was_computed_before_loading_stays(tmp_path, rng):
    """Work that is recorded and not run yet reads the values of its time; so does a tape."""
    x, y = data(rng)
    model = small()
    model.optimizer.build(model.trainable_variables)
    model.save_weights(tmp_path / "m.weights.h5")
    model.fit(x, y, verbose=0)
    kernel, bias = model.layers[0].kernel.numpy(), model.layers[1].bias.numpy()
    later = model.layers[0].kernel * 1.0
    small_one = model.layers[1].bias + 0.0
    model.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(later.numpy(), kernel)
    np.testing.assert_array_equal(small_one.numpy(), bias)
    before = model.layers[0].kernel.numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.layers[0].kernel ** 2)
        model.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_allclose(tape.gradient(loss, model.layers[0].kernel).numpy(), 2 * before, rtol=1e-6)
    history = model.fit(x, y, epochs=2, verbose=0, shuffle=False).history
    model.load_weights(tmp_path / "m.weights.h5")
    assert model.fit(x, y, epochs=2, verbose=0, shuffle=False).history == history


@tf.keras.saving.register_keras_serializable(package="files")
class _PassesOn(tf.keras.Model):
    """A constructor that hands everything on and no get_config."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.last = layers.Dense(2)

    def call(self, x):
        return self.last(x)


def test_a_constructor_with_args_and_kwargs_needs_no_get_config(tmp_path):
    made, x = _PassesOn(name="mine"), np.ones((1, 3), "float32")
    y = made(x)
    made.save(tmp_path / "m.keras")
    again = tf.keras.models.load_model(tmp_path / "m.keras")
    assert again.name == "mine"
    np.testing.assert_array_equal(again(x), y)


def test_an_absent_file_is_either_error(tmp_path):
    for error in (FileNotFoundError, ValueError):
        with pytest.raises(error, match="No file or folder"):
            tf.keras.models.load_model(tmp_path / "absent.keras")


def test_the_callers_own_loss_in_an_h5_file_is_found_by_its_name(tmp_path, rng):
    def own_loss(y_true, y_pred):
        return tf.square(y_true - y_pred)
    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
    model.compile("sgd", own_loss, metrics=["mae", own_loss])
    x, y = rng.normal(size=(4, 2)).astype("float32"), np.ones((4, 1), "float32")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.h5")
    copy = tf.keras.models.load_model(tmp_path / "model.h5", custom_objects={"own_loss": own_loss})
    np.testing.assert_allclose(copy.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6)
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_functions_of_yours_in_compile(tmp_path, suffix):
    def my_loss(y_true, y_pred):
        return tf.reduce_mean(tf.square(y_true - y_pred))

    def my_metric(y_true, y_pred):
        return tf.reduce_mean(tf.abs(y_true - y_pred))

    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
    x, y = np.ones((4, 2)), np.ones((4, 1))
    path = str(tmp_path / f"model{suffix}")
    model.compile("adam", my_loss, metrics=[my_metric, "mae"])
    model.fit(x, y, verbose=0)
    model.save(path)
    again = tf.keras.models.load_model(path, custom_objects={"my_loss": my_loss, "my_metric": my_metric})
    assert again.evaluate(x, y, verbose=0, return_dict=True) == model.evaluate(x, y, verbose=0, return_dict=True)
    with pytest.raises((TypeError, ValueError), match="custom_objects={'my_loss': my_loss}"):
        tf.keras.models.load_model(path)


def test_a_legacy_file_makes_its_folder(tmp_path):
    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
    model.save(tmp_path / "a" / "b" / "m.h5")
    assert (tmp_path / "a" / "b" / "m.h5").exists()
