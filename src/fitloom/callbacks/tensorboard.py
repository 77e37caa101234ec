# SPDX-License-Identifier: Apache-2.0
"""The TensorBoard callback, and the one that notes hyperparameters."""
import contextlib
import os
import time
import warnings

import numpy as np

from fitloom import engine
from fitloom.base import errors, nest
from fitloom.callbacks.callback import Callback
from fitloom.callbacks.monitoring import learning_rate
from fitloom.distribute.strategy import in_cluster
from fitloom.monitor import EventFile, histograms, profiling, summaries


class TensorBoard(Callback):
    """Write logs for TensorBoard: `tensorboard --logdir logs`.

    Scalars 'epoch_<log>' go to the runs `<log_dir>/train` and `<log_dir>/validation`, with 'epoch_learning_rate';
    with `update_freq`, 'batch_<log>'; after each evaluation 'evaluation_<log>_vs_iterations'.

    Args:
        log_dir: folder of the logs.
        histogram_freq: every how many epochs histograms of the weights are written (counted on the device); 0 never.
        write_graph: write the graph of layers (functional and Sequential models; others have none to show), and the
            model's configuration, which is the conceptual graph.
        write_images: with `histogram_freq`, also write the weights as images.
        write_steps_per_second: also write 'epoch_steps_per_second'.
        update_freq: 'epoch', 'batch' or a number of batches between two batch records. If it is not 'epoch',
            `tf.summary` in a layer, train_step or test_step writes into the same runs, as often, and the default step
            is the number of the batch (not with several processes).
        profile_batch: a batch number or a pair (first, last) of which a profile is taken; 0 none.
        embeddings_freq: every how many epochs the weights of Embedding layers are written for the projector.
        embeddings_metadata: dict of layer name -> metadata file name, or one file name for all.

    Records are written by a thread: the loop never waits for the disk.

    Source: keras.io/api/callbacks/tensorboard.
    """

    chief_only = True       # of several workers one writes

    def __init__(self, log_dir="logs", histogram_freq=0, write_graph=True, write_images=False,
                 write_steps_per_second=False, update_freq="epoch", profile_batch=0, embeddings_freq=0,
                 embeddings_metadata=None):
        super().__init__()
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq, self.write_graph, self.write_images = histogram_freq, write_graph, write_images
        self.write_steps_per_second = write_steps_per_second
        if update_freq not in ("epoch", "batch") and (not isinstance(update_freq, int) or update_freq < 1):
            raise ValueError(f"update_freq must be 'epoch', 'batch' or an integer >= 1, but received {update_freq!r}.")
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self.embeddings_freq, self.embeddings_metadata = embeddings_freq, embeddings_metadata
        self._first_profiled, self._last_profiled = _profile_range(profile_batch)
        self.every_batch = self.update_freq != "epoch" or self._last_profiled > 0
        self._train_dir = os.path.join(self.log_dir, "train")
        self._val_dir = os.path.join(self.log_dir, "validation")
        self._files, self._step, self._tests, self._profiling = {}, 0, 0, False
        self._in_fit, self._contexts, self._writers, self._batches = False, [], {}, {}

    def _direct(self, folder):
        """Let tf.summary write into a run, from here on."""
        if self.update_freq == "epoch" or in_cluster():      # there, workers must start the same programs
            return
        if not self._batches:
            self._batches = {name: engine.Variable(np.int64(0), trainable=False)
                             for name in (self._train_dir, self._val_dir)}
            self._due = {name: lambda step=step: step % self.update_freq == 0 for name, step in self._batches.items()}
        if folder not in self._writers:
            self._writers[folder] = summaries.SummaryWriter(self._file(folder))
        contexts = contextlib.ExitStack()
        contexts.enter_context(self._writers[folder].as_default(self._batches[folder]))
        contexts.enter_context(summaries.record_if(self._due[folder]))
        self._contexts.append(contexts)

    def _undirect(self):
        if self._contexts:
            self._contexts.pop().close()

    def release(self):
        """Leave tf.summary as it was before the run, also where an error ended it."""
        while self._contexts:
            self._undirect()

    def _file(self, folder):
        if folder not in self._files:
            self._files[folder] = EventFile(folder)
        return self._files[folder]

    def set_model(self, model):
        super().set_model(model)
        os.makedirs(self.log_dir, exist_ok=True)
        if self.write_graph:
            self._write_graph()

    def _write_graph(self):
        nodes = graph_nodes(self.model)
        if nodes and self.model.built:
            file = self._file(self._train_dir)
            file.graph(nodes)
            try:
                file.keras_model(self.model.to_json())
            except (NotImplementedError, TypeError, ValueError, AttributeError):
                pass                         # a layer of the user's that has no configuration
        elif not self.model.built:
            self._graph_later = True

    def on_train_begin(self, logs=None):
        self._step, self._in_fit, self._seen, self._batch = 0, True, 0, 0
        self._direct(self._train_dir)

    def on_train_end(self, logs=None):
        self._in_fit = False
        self.release()
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
        if self._profiling:
            self._stop_profile()
        for file in self._files.values():
            file.close()
        self._files = {}

    def get_state(self):
        """Return what a checkpoint stores: the steps counted so far, and the last batch of the epoch."""
        return {"step": self._step, "last": getattr(self, "_last", -1)}

    def set_state(self, state):
        """Continue from a checkpoint."""
        self._step, self._last = state["step"], state["last"]

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start, self._epoch_first, self._last = time.perf_counter(), self._step, -1

    def on_train_batch_begin(self, batch, logs=None):
        if self._last_profiled and self._step + 1 == self._first_profiled:
            profiling.start(self.log_dir)
            self._profiling = True
        self._batch_start = time.perf_counter()
        if self._contexts:
            self._batches[self._train_dir].assign(self._step + 1)

    def on_test_begin(self, logs=None):
        self._direct(self._val_dir)

    def on_test_batch_begin(self, batch, logs=None):
        if self._contexts:
            self._batches[self._val_dir].assign_add(1)

    def on_train_batch_end(self, batch, logs=None):
        done = batch - self._last
        self._last, self._step = batch, self._step + done
        if self._profiling and self._step >= self._last_profiled:
            for value in (logs or {}).values():
                float(np.sum(value))          # wait for the batch, so that its work is in the profile
            self._stop_profile()
        if self.update_freq == "epoch":
            return
        file = self._file(self._train_dir)
        if self.write_steps_per_second:
            file.scalar("batch_steps_per_second", done / (time.perf_counter() - self._batch_start), self._step)
        if self._step % self.update_freq == 0 or done > self.update_freq:
            for name, value in (logs or {}).items():
                if np.ndim(value) == 0:
                    file.scalar(f"batch_{name}", value, self._step)

    def _stop_profile(self):
        profiling.stop()
        self._profiling = False

    def on_test_end(self, logs=None):
        self._undirect()
        iterations = getattr(getattr(self.model, "optimizer", None), "iterations", None)
        if iterations is None:
            return
        for name, value in (logs or {}).items():
            if np.ndim(value) == 0:
                self._file(self._val_dir).scalar(f"evaluation_{name}_vs_iterations", value, int(iterations.numpy()))
        if not self._in_fit:
            self._file(self._val_dir).flush()

    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs or {})
        if self.__dict__.pop("_graph_later", False):
            self._write_graph()
        rate = learning_rate(self.model)
        if "learning_rate" not in logs and self.model.optimizer is not None:
            logs["learning_rate"] = float(rate.numpy() if hasattr(rate, "numpy") else rate)  # no program is run for it
        if self.write_steps_per_second:
            elapsed = max(time.perf_counter() - self._epoch_start, 1e-9)
            logs["steps_per_second"] = (self._step - self._epoch_first) / elapsed
        for name, value in logs.items():
            if np.ndim(value):
                continue                     # a metric of several numbers has no scalar chart
            if name.startswith("val_"):
                self._file(self._val_dir).scalar("epoch_" + name.removeprefix("val_"), value, epoch)
            else:
                self._file(self._train_dir).scalar("epoch_" + name, value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings(epoch)
        for file in self._files.values():
            file.flush()

    def _write_weights(self, epoch):
        file = self._file(self._train_dir)
        weights = [weight for layer in self.model.layers for weight in layer.weights]
        weights = [weight for weight in weights if np.dtype(weight.dtype).kind != "O"]
        # the arrays stay on the device; 30 rows of each come back, when the thread asks for them
        for weight, rows in zip(weights, histograms.rows_on_device(engine.unwrap(weights))):
            name = weight.path.replace(":", "_")
            file.histogram_of_rows(f"{name}/histogram", rows, epoch)
            images = weight_images(np.asarray(weight.numpy(), np.float32)) if self.write_images else None
            if images is not None:
                file.image(f"{name}/image", images, epoch)

    def _write_embeddings(self, epoch):
        layers = [layer for layer in self.model._flatten_layers() if type(layer).__name__ == "Embedding"]
        if not layers:
            warnings.warn("TensorBoard(embeddings_freq=...) found no Embedding layer in the model.", stacklevel=2)
            return
        given = self.embeddings_metadata
        if isinstance(given, dict):
            names = [layer.name for layer in layers]
            for name in given:
                if name not in names:
                    raise errors.unknown_name("Embedding layer in embeddings_metadata", name, names)
        lines = []
        for layer in layers:
            table, path = layer.weights[0].numpy(), f"{layer.name}_embedding.tsv"
            np.savetxt(os.path.join(self.log_dir, path), np.asarray(table, np.float32), fmt="%.6g", delimiter="\t")
            lines += ["embeddings {", f'  tensor_name: "{layer.name}"', f'  tensor_path: "{path}"']
            metadata = given.get(layer.name) if isinstance(given, dict) else given
            lines += [f'  metadata_path: "{metadata}"'] if metadata else []
            lines.append("}")
        with open(os.path.join(self.log_dir, "projector_config.pbtxt"), "w") as file:
            file.write("\n".join(lines) + "\n")


class HParamsCallback(Callback):
    """Write the hyperparameters of a run, and that it ended (`hp.KerasCallback`).

    Args:
        writer: a SummaryWriter, or the run's folder.
        hparams: dict of names or HParams to bools, numbers or strings.
        trial_id: name of the set of hyperparameters; a hash of them by default.
    """

    chief_only = True       # of several workers one writes

    def __init__(self, writer, hparams, trial_id=None):
        from fitloom.monitor import hparams as plugin, summaries
        super().__init__()
        if writer is None:
            raise TypeError("writer must be a SummaryWriter or the path of a folder, but received None.")
        plugin.hparams_pb(hparams, trial_id=trial_id)                    # raises for what cannot be written
        self._hparams, self._trial_id, self._plugin = dict(hparams), trial_id, plugin
        self._writer = writer if hasattr(writer, "as_default") else summaries.create_file_writer(os.fspath(writer))

    def on_train_begin(self, logs=None):
        with self._writer.as_default():
            self._plugin.hparams(self._hparams, trial_id=self._trial_id)

    def on_train_end(self, logs=None):
        with self._writer.as_default():
            self._plugin.session_end()
        self._writer.flush()


def _profile_range(profile_batch):
    """Return (first, last) batch to profile, from 1; (0, 0) for none."""
    if isinstance(profile_batch, str):
        profile_batch = [int(part) for part in profile_batch.split(",")]
    pair = tuple(profile_batch) if isinstance(profile_batch, (list, tuple)) else (profile_batch, profile_batch)
    if len(pair) != 2 or any(not isinstance(n, int) or n < 0 for n in pair) or pair[0] > pair[1]:
        raise ValueError("profile_batch must be a non-negative integer or a pair (first, last) of positive integers, "
                         f"but received {profile_batch!r}.")
    return pair


def weight_images(values):
    """Return a weight as images (batch, height, width, channels) scaled to [0, 1]; None for what is no picture."""
    values = np.squeeze(values)
    if values.ndim == 1:
        images = values.reshape(1, -1, 1, 1)
    elif values.ndim == 2:
        images = (values.T if values.shape[0] > values.shape[1] else values)[np.newaxis, :, :, np.newaxis]
    elif values.ndim == 3:
        images = np.transpose(values, (2, 0, 1))[..., np.newaxis]
    elif values.ndim == 4 and values.shape[-1] in (1, 3, 4):
        images = values
    else:
        return None
    low, high = float(images.min()), float(images.max())
    return (images - low) / ((high - low) or 1.0)


def graph_nodes(model, prefix=""):
    """Return (name, kind, inputs, attributes) for each layer of a functional or Sequential model."""
    made, producer = [], {}
    for layer in getattr(model, "layers", ()):
        inputs = []
        for node in getattr(layer, "_inbound_nodes", ()):
            for tensor in nest.flatten(getattr(node, "input_tensors", ())):
                history = getattr(tensor, "_keras_history", None)
                operation = getattr(history, "operation", None) or (history[0] if history else None)
                if operation is not None and id(operation) in producer:
                    inputs.append(producer[id(operation)])
        name = f"{prefix}{layer.name}"
        if not inputs and made and type(model).__name__ == "Sequential":
            inputs = [made[-1][0]]
        producer[id(layer)] = name
        attributes = {"weights": int(sum(np.prod(weight.shape) for weight in layer.weights))}
        made.append((name, type(layer).__name__, list(dict.fromkeys(inputs)), attributes))
    return made
