# SPDX-License-Identifier: Apache-2.0
"""What scripts for Keras 1 and 2 say differently: module paths, names, arguments, methods."""
import importlib

import numpy as np
import pytest

import fitloom as tf
from fitloom import keras
from fitloom.keras import backend as K


@pytest.mark.parametrize("path", """
    layers.embeddings:Embedding layers.normalization:BatchNormalization layers.noise:AlphaDropout layers.merge:add
    layers.recurrent:GRU layers.convolutional:Conv2D layers.advanced_activations:LeakyReLU layers.core:Dense
    layers.convolutional_recurrent:ConvLSTM2D layers.wrappers:TimeDistributed layers.pooling:MaxPooling2D
    layers.experimental.preprocessing:Rescaling layers.experimental:preprocessing utils.np_utils:to_categorical
    utils:np_utils utils.data_utils:get_file utils.generic_utils:Progbar utils.vis_utils:plot_model
    engine.topology:Layer engine:InputSpec engine.training:Model objectives:mse callbacks.experimental:BackupAndRestore
    experimental:CosineDecay mixed_precision.experimental:set_policy constraints:maxnorm optimizers:rmsprop
    layers:CuDNNLSTM
    """.split())
def test_older_paths(path):
    module, name = path.split(":")
    assert getattr(importlib.import_module(f"fitloom.keras.{module}"), name) is not None


def test_older_paths_as_attributes():
    assert tf.keras.layers.experimental.preprocessing.Rescaling is keras.layers.Rescaling
    assert keras.utils.np_utils.to_categorical([1]).tolist() == [[0.0, 1.0]]
    assert keras.mixed_precision.experimental.set_policy is keras.mixed_precision.set_global_policy
    with pytest.raises(AttributeError, match=r"path of Keras 2.*keras\.utils"):
        keras.utils.np_utils.to_categoric
    assert not hasattr(keras.layers, "embedings")


def test_first_layers_know_their_inputs():
    model = keras.Sequential([keras.layers.Embedding(10, 4, input_length=3), keras.layers.Flatten(),
                              keras.layers.Dense(1)])
    assert model.built and model.input_shape == (None, 3)
    model.layers[0].set_weights([np.ones((10, 4))])
    recurrent = keras.Sequential([keras.layers.LSTM(2, input_shape=(5, 1), batch_size=4, stateful=True)])
    assert recurrent.input_shape == (4, 5, 1)
    dense = keras.layers.Dense(2, input_shape=(3,), weights=[np.ones((3, 2)), np.zeros(2)])
    assert float(keras.Sequential([dense])(np.ones((1, 3)))[0, 0]) == 3.0


def test_batches_by_older_methods():
    class Batches(keras.utils.Sequence):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.ones((4, 2), "float32"), np.ones((4, 1), "float32")

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(lr=0.01), "mse")
    batches = Batches()
    history = model.fit(batches, workers=2, use_multiprocessing=False, max_queue_size=3, verbose=0)
    assert batches.workers == 2 and batches.max_queue_size == 3 and len(history.history["loss"]) == 1
    with pytest.raises(TypeError, match="worker"):
        model.fit(batches, worker=2)
    endless = (batches[0] for _ in iter(int, 1))
    with pytest.warns(DeprecationWarning, match="fit_generator"):
        model.fit_generator(endless, steps_per_epoch=2, epochs=1, verbose=0, workers=1)
    with pytest.warns(DeprecationWarning, match="evaluate_generator"):
        assert model.evaluate_generator(batches, steps=1) >= 0
    with pytest.warns(DeprecationWarning, match="predict_generator"):
        assert model.predict_generator(((np.ones((4, 2)),) for _ in range(9)), steps=2).shape == (8, 1)


def test_backend_pictures():
    x = np.arange(32, dtype="float32").reshape(1, 4, 4, 2)
    kernel = np.ones((2, 2, 2, 3), "float32")
    assert K.conv2d(x, kernel).shape == (1, 3, 3, 3) and K.conv2d(x, kernel, padding="same").shape == (1, 4, 4, 3)
    assert K.conv1d(x[:, 0], kernel[0], padding="causal").shape == (1, 4, 3)
    for padding, size in (("same", 8), ("same", 7), ("valid", 8)):
        out = K.conv2d_transpose(x, np.ones((2, 2, 5, 2), "float32"), (1, size, size, 5), (2, 2), padding)
        assert out.shape == (1, size, size, 5)
    assert K.pool2d(x, (2, 2)).numpy()[0, 0, 0].tolist() == [10, 11]
    assert float(K.pool2d(x, (2, 2), pool_mode="avg")[0, 0, 0, 0]) == 5
    assert K.resize_images(x, 2, 3, "channels_last").shape == (1, 8, 12, 2)
    assert K.resize_images(x, 2, 2, "channels_last", "bilinear").shape == (1, 8, 8, 2)
    assert K.spatial_3d_padding(np.ones((1, 2, 2, 2, 1))).shape == (1, 4, 4, 4, 1)
    np.testing.assert_allclose(K.batch_normalization(x, x.mean(), x.var(), 0.0, 1.0, epsilon=0.0).numpy().std(), 1,
                               rtol=1e-5)
    assert K.in_top_k([[0.1, 0.9]], [1], 1).numpy().tolist() == [True]
    assert K.random_uniform_variable((2,), 0, 1).shape == (2,) and K.is_int_dtype("int8")


def test_thresholded_relu():
    assert keras.layers.ThresholdedReLU(1.0)(np.float32([0.5, 1.0, 2.0])).numpy().tolist() == [0, 0, 2]
    with pytest.raises(ValueError, match="theta"):
        keras.layers.ThresholdedReLU(None)


def test_classes():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Activation("linear")])
    x = np.float32([[0.2, 0.8], [0.9, 0.1]])
    assert model.predict_classes(x).tolist() == [1, 0] and model.predict_proba(x).shape == (2, 2)
    single = keras.Sequential([keras.Input((1,)), keras.layers.Activation("linear")])
    assert single.predict_classes(x[:, :1]).tolist() == [[0], [1]]


def test_the_two_names_of_accuracy(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    x, y = np.ones((4, 2)), np.ones((4, 1))
    save = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}-{val_acc:.2f}.keras"), monitor="val_acc",
                                           save_best_only=True)
    stop = keras.callbacks.EarlyStopping("val_acc", patience=1)
    history = model.fit(x, y, epochs=3, validation_data=(x, y), callbacks=[save, stop], verbose=0)
    assert len(history.epoch) == 2 and len(list(tmp_path.iterdir())) == 1


def test_states_of_a_model():
    model = keras.Sequential([keras.layers.SimpleRNN(2, stateful=True, batch_input_shape=(3, 4, 1))])
    x = np.ones((3, 4, 1), "float32")
    first, second = model.predict(x, verbose=0), model.predict(x, verbose=0)
    model.reset_states()
    assert not np.allclose(first, second) and np.allclose(first, model.predict(x, verbose=0))


def test_shapes_of_symbolic_tensors():
    x = keras.Input((3, 4))
    assert x.shape == (None, 3, 4) and x.shape.as_list() == [None, 3, 4] and x.shape.rank == x.get_shape().ndims == 3
    assert K.int_shape(x) == (None, 3, 4) and x.shape[1:] == (3, 4) and str(x.shape) == "(None, 3, 4)"


def test_unknown_training_by_position():
    class Own(keras.layers.Layer):
        def call(self, inputs, training=None):
            return inputs * (2.0 if training else 1.0)

        def __call__(self, inputs, training=None, **others):
            return super().__call__(inputs, training, **others)

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Own()(inputs))
    x = np.ones((1, 2), "float32")
    assert model(x)[0, 0] == 1 and model(x, training=True)[0, 0] == 2
    model.compile("sgd", "mse")
    assert model.evaluate(x, x, verbose=0) == 0


def test_added_losses_may_name_their_inputs():
    class Own(keras.layers.Layer):
        def call(self, x):
            self.add_loss(tf.reduce_sum(x), inputs=x)
            return x

    layer = Own()
    layer(np.ones((2, 2)))
    assert [float(loss) for loss in layer.losses] == [4.0]


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_discriminator_that_is_frozen_inside_a_gan_trains_by_itself(eagerly):
    """The pattern of every GAN for Keras 2: compile, freeze, compile the whole."""
    def moved(model, train):
        before = [w.copy() for w in model.get_weights()]
        train()
        return not all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))

    discriminator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.BatchNormalization(),
                                      keras.layers.Dense(1, activation="sigmoid")])
    discriminator.compile(keras.optimizers.Adam(lr=0.01), "binary_crossentropy", run_eagerly=eagerly)
    generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    discriminator.trainable = False
    noise = keras.Input((2,))
    gan = keras.Model(noise, discriminator(generator(noise)))
    gan.compile("adam", "binary_crossentropy", run_eagerly=eagerly)
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    for _ in range(2):
        assert moved(discriminator, lambda: discriminator.train_on_batch(x, y))
        assert not discriminator.trainable and not discriminator.trainable_weights
        assert moved(generator, lambda: gan.train_on_batch(x, y))
        assert not moved(discriminator, lambda: gan.train_on_batch(x, y))
    discriminator.compile("adam", "binary_crossentropy")        # says that it is to stay frozen
    with pytest.warns(UserWarning, match="trainable weights"):
        assert not moved(discriminator, lambda: discriminator.train_on_batch(x, y))


def test_functions_between_symbolic_tensors():
    model = keras.Sequential([keras.layers.Dense(3, input_shape=(2,)), keras.layers.Dropout(0.9), keras.layers.Dense(1)])
    x = np.ones((4, 2), "float32")
    hidden, = K.function([model.input], [model.layers[0].output])([x])
    np.testing.assert_allclose(hidden, model.layers[0](x))
    both = K.function([model.input, K.learning_phase()], [model.layers[1].output])
    np.testing.assert_allclose(both([x, 0])[0], hidden)
    assert not np.allclose(both([x, 1])[0], hidden)
    inputs = keras.Input((2,))
    functional = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    assert functional.layers[0].input is inputs
    assert keras.Model(functional.layers[0].input, functional.layers[-1].output).output_shape == (None, 1)


def test_symbolic_losses_of_a_functional_model():
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(3, kernel_initializer="ones")(inputs)
    outputs = keras.layers.Dense(2, kernel_initializer="ones")(hidden)
    model = keras.Model(inputs, outputs)
    model.add_loss(K.mean(keras.losses.mean_squared_error(inputs, outputs)))
    model.add_loss(0.5 * tf.reduce_sum(hidden))
    x = np.ones((3, 2), "float32")
    model(x)
    assert [float(loss) for loss in model.losses] == [25.0, 9.0]
    model.compile(keras.optimizers.SGD(0.0))
    assert model.fit(x, epochs=2, verbose=0, batch_size=2).history["loss"] == pytest.approx([(31 * 2 + 28) / 3] * 2)
    assert len(model.losses) == 2 or model.losses == []
    with pytest.raises(NotImplementedError, match="symbolic"):
        model.add_loss(tf.constant(1.0))


def test_a_model_from_its_class_name_and_configuration():
    made = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)])
    again = tf.keras.models.model_from_config({"class_name": "Sequential", "config": made.get_config()})
    assert again.output_shape == (None, 2)
    graph = tf.keras.Model(made.input, made.output)
    assert tf.keras.models.model_from_config({"class_name": "Functional", "config": graph.get_config()}).count_params() == 8
