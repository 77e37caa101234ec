# SPDX-License-Identifier: Apache-2.0
"""Callbacks that hand the logs on: to a CSV file, to a server."""
import csv
import json
import os
import urllib.parse
import urllib.request
import warnings

import numpy as np

from fitloom.callbacks.callback import Callback


class CSVLogger(Callback):
    """Write the logs of each epoch as a row of a CSV file: 'epoch', then the logs sorted by name.

    Args:
        filename: the file.
        separator: what is put between entries.
        append: add to an existing file instead of replacing it.

    Source: keras.io/api/callbacks/csv_logger.
    """

    chief_only = True       # of several workers one writes

    def __init__(self, filename, separator=",", append=False):
        super().__init__()
        self.filename, self.sep, self.append = os.fspath(filename), separator, append
        self.writer, self.keys, self.csv_file, self.append_header = None, None, None, True

    def on_train_begin(self, logs=None):
        if self.append and os.path.exists(self.filename):
            with open(self.filename, newline="") as file:
                self.append_header = not file.readline()
        folder = os.path.dirname(self.filename)
        if folder:
            os.makedirs(folder, exist_ok=True)
        open(self.filename, "a").close()          # an error now if it cannot be written
        self.writer, self.keys, self.csv_file, self._kept_bytes = None, None, None, None

    def _open(self):
        if self.csv_file is not None:
            return
        if self._kept_bytes is not None:          # a run that goes on: rows after its checkpoint are dropped
            os.truncate(self.filename, self._kept_bytes)
        again = self.append or self._kept_bytes is not None
        self.csv_file = open(self.filename, "a" if again else "w", newline="")

    def get_state(self):
        """Return what a checkpoint stores."""
        size = self.csv_file.tell() if self.csv_file is not None else self._kept_bytes
        return {"keys": self.keys, "bytes": size, "append_header": self.append_header and self.writer is None}

    def set_state(self, state):
        """Continue from a checkpoint; the file is kept as far as it had been written then."""
        self.keys, self._kept_bytes, self.append_header = state["keys"], state["bytes"], state["append_header"]
        if self._kept_bytes is not None and os.path.getsize(self.filename) < self._kept_bytes:
            self._kept_bytes, self.append_header = os.path.getsize(self.filename), not os.path.getsize(self.filename)

    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs or {})
        self._open()
        if self.keys is None:
            self.keys = sorted(logs)
            # with validation_freq > 1 the val_ columns appear later: they get their place now
            if not any(key.startswith("val_") for key in self.keys) and getattr(self.model, "_validation_later", False):
                self.keys += ["val_" + key for key in self.keys if key != "learning_rate"]
        if self.writer is None:
            self.writer = csv.DictWriter(self.csv_file, fieldnames=["epoch", *self.keys], delimiter=self.sep,
                                         extrasaction="ignore")
            if self.append_header:
                self.writer.writeheader()
        self.writer.writerow({"epoch": epoch, **{key: self._entry(logs.get(key, "NA")) for key in self.keys}})
        self.csv_file.flush()

    @staticmethod
    def _entry(value):
        if np.ndim(value) and not isinstance(value, str):
            return f"[{', '.join(map(str, np.asarray(value).ravel()))}]"
        return value

    def on_train_end(self, logs=None):
        self._open()
        self.csv_file.close()
        self.csv_file = self.writer = None


class RemoteMonitor(Callback):
    """Send the logs of each epoch to a server by HTTP POST.

    Args:
        root: address of the server.
        path: path of the request.
        field: name of the form field that holds the JSON text, unless `send_as_json`.
        headers: HTTP headers.
        send_as_json: send the JSON text as the body ('application/json').

    Source: keras.io/api/callbacks/remote_monitor.
    """

    chief_only = True       # of several workers one writes

    timeout_seconds = 10.0

    def __init__(self, root="http://localhost:9000", path="/publish/epoch/end/", field="data", headers=None,
                 send_as_json=False):
        super().__init__()
        self.root, self.path, self.field, self.headers = root, path, field, headers
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch, logs=None):
        content = {"epoch": epoch, **{k: v.tolist() if isinstance(v, np.ndarray) else v
                                      for k, v in dict(logs or {}).items()}}
        text = json.dumps(content)
        kind = "application/json" if self.send_as_json else "application/x-www-form-urlencoded"
        body = text if self.send_as_json else urllib.parse.urlencode({self.field: text})
        request = urllib.request.Request(self.root + self.path, body.encode(),
                                         {"Content-Type": kind, **(self.headers or {})}, method="POST")
        try:
            urllib.request.urlopen(request, timeout=self.timeout_seconds).close()
        except OSError as error:
            warnings.warn(f"Could not reach RemoteMonitor root server at {self.root}: {error}", stacklevel=2)
