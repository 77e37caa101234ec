# SPDX-License-Identifier: Apache-2.0
"""NumPy tools that scripts prepare data with: `tf.keras.utils.to_categorical` and its neighbours."""
import numpy as np

from fitloom import engine
from fitloom.base import config, nest


def to_categorical(x, num_classes=None):
    """Return class numbers as one-hot rows.

    Args:
        x: integers from 0 on, any shape; a last axis of 1 is dropped.
        num_classes: number of classes; default the largest number + 1.

    Returns: float array of shape x.shape + (num_classes,); a tensor for a tensor.

    Raises:
        ValueError: a number below 0 or not below `num_classes`.

    Example:
        >>> to_categorical([0, 2], num_classes=3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if isinstance(x, engine.Tensor):
        return engine.convert_to_tensor(to_categorical(x.numpy(), num_classes), dtype=config.floatx())
    x = np.asarray(x.numpy() if hasattr(x, "numpy") else x)
    if x.dtype.kind not in "iufb":
        raise ValueError(f"to_categorical expected class numbers, but received {x.dtype.name} such as "
                         f"{x.ravel()[0]!r:.40}. Number the classes first: np.unique(x, return_inverse=True)[1].")
    shape = x.shape[:-1] if x.ndim > 1 and x.shape[-1] == 1 else x.shape
    labels = x.astype(np.int64).ravel()
    if num_classes is None:
        num_classes = int(labels.max()) + 1 if labels.size else 0
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"to_categorical expected class numbers 0..{num_classes - 1}, but received {bad}.")
    encoded = np.zeros((labels.size, num_classes))
    encoded[np.arange(labels.size), labels] = 1.0
    return encoded.reshape((*shape, num_classes))


def normalize(x, axis=-1, order=2):
    """Return `x` divided by its norm along `axis`; a norm of 0 counts as 1.

    Args:
        x: array; a tensor gives a tensor.
        axis: axis along which the norm is taken.
        order: order of the norm, e.g. 2 for Euclidean.

    Example:
        >>> normalize([[3.0, 4.0]]).tolist()
        [[0.6, 0.8]]
    """
    if isinstance(x, engine.Tensor):
        return engine.convert_to_tensor(normalize(x.numpy(), axis, order))
    x = np.asarray(x.numpy() if hasattr(x, "numpy") else x)
    if x.dtype.kind != "f":
        x = x.astype(config.floatx())
    norm = np.atleast_1d(np.linalg.norm(x, order, axis))
    norm[norm == 0] = 1
    return x / np.expand_dims(norm, axis)


def pad_sequences(sequences, maxlen=None, dtype="int32", padding="pre", truncating="pre", value=0.0):
    """Return sequences as rows of one length.

    Args:
        sequences: list of sequences (each entry a number or an array; all entries of one shape).
        maxlen: the length; default that of the longest sequence.
        dtype: dtype of the result.
        padding: 'pre' or 'post': where short sequences are filled.
        truncating: 'pre' or 'post': where long ones are cut.
        value: what they are filled with.

    Returns: array of shape (len(sequences), maxlen, ...).

    Raises:
        ValueError: an entry that is not a sequence, entries of different shapes, an unknown `padding`.

    Example:
        >>> pad_sequences([[1], [2, 3]]).tolist()
        [[0, 1], [2, 3]]
    """
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"pad_sequences expected a list of sequences, but received {sequences!r:.80}.")
    for name, choice in (("padding", padding), ("truncating", truncating)):
        if choice not in ("pre", "post"):
            raise ValueError(f"{name} must be 'pre' or 'post', but received {choice!r}.")
    for position, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError("pad_sequences expected a list of sequences, but entry "
                             f"{position} is {sequence!r:.80}.")
    rows = [np.asarray(sequence) for sequence in sequences]
    longest = max((len(row) for row in rows), default=0)
    maxlen = longest if maxlen is None else maxlen
    entry = next((row.shape[1:] for row in rows if len(row)), ())
    text = np.issubdtype(np.dtype(dtype), np.str_) or np.dtype(dtype) == object
    if isinstance(value, str) and not text:
        raise ValueError(f"value is a string, but dtype {dtype} holds numbers. Use dtype=object.")
    result = np.full((len(rows), maxlen, *entry), value, dtype=dtype)
    for position, row in enumerate(rows):
        if not len(row) or not maxlen:
            continue
        row = row[-maxlen:] if truncating == "pre" else row[:maxlen]
        if row.shape[1:] != entry:
            raise ValueError(f"All entries must have shape {entry}, but those of sequence {position} have shape "
                             f"{row.shape[1:]}.")
        if padding == "post":
            result[position, :len(row)] = row
        else:
            result[position, maxlen - len(row):] = row
    return result


def split_dataset(dataset, left_size=None, right_size=None, shuffle=False, seed=None, preferred_backend=None):
    """Return two Datasets: the first part of the elements and the rest.

    Args:
        dataset: a Dataset, arrays or a list, tuple or dict of arrays, a PyDataset, a torch Dataset.
        left_size, right_size: a fraction of the elements or their number; one may be left out.
        shuffle: draw the order first.
        seed: seed of that order.
        preferred_backend: accepted for Keras' sake: 'tensorflow' or None; the results are tf.data Datasets.

    Raises:
        ValueError: neither size, or sizes that do not fit.
    """
    from fitloom.data import Dataset
    if preferred_backend not in (None, "tensorflow", "jax", "fitloom"):
        raise ValueError("split_dataset makes tf.data Datasets (preferred_backend='tensorflow' or None), but "
                         f"preferred_backend={preferred_backend!r} was asked for.")
    if nest.is_nested(dataset) or isinstance(dataset, np.ndarray):
        arrays = nest.map_structure(np.asarray, dataset)
        count = len(nest.flatten(arrays)[0])

        def take(rows):
            part = nest.map_structure(lambda array: array[rows], arrays)
            return Dataset.from_tensor_slices(tuple(part) if isinstance(part, list) else part)
    else:
        items = [dataset[i] for i in range(len(dataset))] if hasattr(dataset, "__getitem__") else list(dataset)
        items = [nest.map_structure(np.asarray, item) for item in items]
        count = len(items)

        def take(rows):
            return Dataset.from_tensor_slices(nest.map_structure(lambda *leaves: np.stack(leaves),
                                                                 *[items[row] for row in rows]))
    left, right = _sizes(left_size, right_size, count)
    order = np.arange(count)
    if shuffle:
        order = np.random.default_rng(seed).permutation(count)
    return take(order[:left]), take(order[left:left + right])


def _sizes(left, right, count):
    if left is None and right is None:
        raise ValueError("split_dataset needs left_size or right_size.")
    found = []
    for name, size in (("left_size", left), ("right_size", right)):
        if size is None:
            found.append(None)
            continue
        if isinstance(size, bool) or not isinstance(size, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name} must be an int or a float, but received {size!r}.")
        whole = isinstance(size, (int, np.integer))
        if (whole and not 0 < size < count) or (not whole and not 0 < size < 1):
            raise ValueError(f"{name} must be a fraction between 0 and 1 or a number between 1 and {count - 1}, but "
                             f"received {size}.")
        found.append(int(size) if whole else round(size * count))
    left, right = found
    left = count - right if left is None else left
    right = count - left if right is None else right
    if left + right > count or min(left, right) < 1:
        raise ValueError(f"left_size={left} and right_size={right} do not fit into {count} elements.")
    return left, right
