# SPDX-License-Identifier: Apache-2.0
"""Where batches come from: arrays in memory, or anything that yields batches."""
import inspect
import itertools
import warnings
import zlib

import numpy as np

from fitloom import engine
from fitloom.base import config, nest
from fitloom.data.iterators import Batches
from fitloom.data.structure import to_tensor
from fitloom.distribute.strategy import between_workers
from fitloom.trainer import validation
from fitloom.trainer.steps import pack_x_y_sample_weight, unpack_x_y_sample_weight

RAN_OUT = ("Your input ran out of data; interrupting the epoch. Make sure that your dataset or generator can generate "
           "at least `steps_per_epoch * epochs` batches. You may need to use the `.repeat()` function when building "
           "your dataset.")
MOST_BYTES = 1 << 30            # datasets of slices up to this size are trained on like arrays


# -- what x is

def is_array(value) -> bool:
    """Whether `value` is one array-like thing: NumPy, a tensor of any library, pandas, a number."""
    return (isinstance(value, (np.ndarray, np.generic, engine.Tensor, engine.Variable, int, float))
            or (hasattr(value, "__array__") and hasattr(value, "shape"))
            or type(value).__module__.partition(".")[0] == "pandas" or hasattr(value, "todense")
            or hasattr(value, "dense_shape"))


def is_dataset(value) -> bool:
    """Whether `value` is a tf.data.Dataset."""
    return hasattr(value, "element_spec") and hasattr(value, "__iter__")


def is_sequence(value) -> bool:
    """Whether `value` is a PyDataset or an old Sequence: batches by number."""
    return hasattr(value, "__getitem__") and (hasattr(value, "on_epoch_end") or hasattr(value, "num_batches"))


def is_loader(value) -> bool:
    """Whether `value` is a torch DataLoader or an iterable like it (not a structure of arrays)."""
    return hasattr(value, "__iter__") and not is_array(value) and not nest.is_nested(value) \
        and not isinstance(value, (str, bytes))


def to_numpy(value, label="x"):
    """Return one array-like thing as NumPy; floats of 64 bits become floatx."""
    kind = type(value).__module__.partition(".")[0]
    if kind == "pandas":
        array = value.to_numpy()
        if array.ndim == 1:
            array = array[:, np.newaxis]          # a Series is a column
        if array.dtype == object:
            columns = getattr(value, "dtypes", None)
            names = [str(name) for name, dtype in columns.items() if getattr(dtype, "kind", "O") not in "biufc"] \
                if hasattr(columns, "items") else []
            try:
                array = array.astype(config.floatx())
            except (TypeError, ValueError):
                where = f" (columns {', '.join(names[:5])})" if names else ""
                raise ValueError(f"{label} is a pandas object with columns that are not numbers{where}. Encode them "
                                 "as numbers first, e.g. pandas.get_dummies.") from None
    elif hasattr(value, "detach") and hasattr(value, "cpu"):
        array = value.detach().cpu().numpy()
    elif hasattr(value, "todense"):               # SciPy's and jax's sparse matrices
        array = np.asarray(value.todense())
    elif hasattr(value, "dense_shape"):           # tf.SparseTensor
        array = value.numpy()
    elif isinstance(value, (engine.Tensor, engine.Variable)):
        array = np.asarray(value.numpy())
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{label} is a list of rows of different lengths, so it is no array. Pad them to one "
                             "length: tf.keras.utils.pad_sequences.") from error
    if array.dtype == np.float64:
        array = array.astype(config.floatx())
    elif label.startswith("x") and (array.dtype.kind in "US" or array.dtype.kind == "O" and array.size and all(
            isinstance(v, (str, bytes)) for v in array.flat)):
        array = engine.convert_to_tensor(array).numpy()       # text, as the bytes of a string tensor
    elif array.dtype == object:
        validation.check_kind(label, array)
    return array


def to_arrays(structure, label):
    """Return a structure of array-likes as a structure of NumPy arrays; None stays None."""
    if structure is None:
        return None
    if isinstance(structure, (list, tuple)) and structure and not hasattr(structure, "_fields") \
            and all(_plain(row) for row in structure):
        return to_numpy(structure, label)         # a list of numbers or of rows of numbers
    if isinstance(structure, dict):
        return {key: to_arrays(value, f"{label}[{key!r}]") for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        children = [to_arrays(value, f"{label}[{i}]") for i, value in enumerate(structure)]
        return tuple(children) if isinstance(structure, tuple) else children
    if isinstance(structure, str) or not is_array(structure):
        raise ValueError(
            f"{label} must be a NumPy array, a tensor, a pandas object, a list or dict of these, a tf.data.Dataset, a "
            f"PyDataset, a generator or another iterable of batches, but received {type(structure).__name__}.")
    return to_numpy(structure, label)


def _plain(value):
    if isinstance(value, (int, float, np.generic)):
        return True
    return isinstance(value, (list, tuple)) and bool(value) and all(_plain(child) for child in value)


# -- class weights

def weigh_classes(y, sample_weight, class_weight):
    """Return the sample weights that `class_weight` gives to NumPy targets, times those there are.

    Targets are class numbers of any shape, or one-hot on the last axis when that has more than one entry; a weight
    is given to every position that has a class, so targets of three and more axes work too.
    """
    if not isinstance(class_weight, dict):
        raise ValueError(f"class_weight expected a dict from class number to weight, but received {class_weight!r:.80} "
                         f"({type(class_weight).__name__}). Write dict(enumerate(weights)).")
    if y is None:
        raise ValueError("class_weight needs targets (y).")
    if nest.is_nested(y):
        leaves = nest.flatten(y)
        if len(leaves) > 1:
            raise ValueError("class_weight is only supported for models with a single output. Give sample_weight.")
        y = leaves[0]
    if nest.is_nested(sample_weight):
        raise ValueError("class_weight cannot be combined with a list or dict of sample weights.")
    y = np.asarray(y)
    if y.ndim >= 2 and y.shape[-1] > 1 and (y.dtype.kind == "f" or y.ndim != 2 or y.max(initial=0) <= 1):
        classes = np.argmax(y, axis=-1)
    else:
        classes = y[..., 0] if y.ndim >= 2 and y.shape[-1] == 1 else y
        classes = np.round(classes).astype(np.int64)
    weights = np.ones(classes.shape, config.floatx())
    for label, weight in class_weight.items():
        weights[classes == int(label)] = weight
    if sample_weight is None:
        return weights
    sample_weight = np.asarray(sample_weight)
    return weights * sample_weight.reshape(sample_weight.shape + (1,) * (weights.ndim - sample_weight.ndim))


# -- sources

class ArraySource:
    """Batches cut from arrays in memory.

    Args:
        x, y, sample_weight: structures of array-likes.
        batch_size: rows of a batch; default 32.
        shuffle: draw a new order each epoch; 'batch' shuffles whole batches.
        class_weight: class number -> weight.
        steps: batches an epoch; the next epoch goes on where this one stopped.
    """

    in_memory = True

    def __init__(self, x, y=None, sample_weight=None, batch_size=None, shuffle=False, class_weight=None, steps=None,
                 check=True):
        self.x, self.y = to_arrays(x, "x"), to_arrays(y, "y")
        sample_weight = to_arrays(sample_weight, "sample_weight")
        named = [(validation.label_of(path, label), array)
                 for label, part in (("x", self.x), ("y", self.y), ("sample_weight", sample_weight))
                 if part is not None for path, array in validation.paths(part) if array is not None]
        if not named:
            raise ValueError("No data: x is empty. Give at least one array with at least one sample.")
        self.rows = validation.check_lengths(named)
        for label, array in named:
            validation.check_kind(label, array)
            if check:
                validation.check_finite(label, array)
        if class_weight is not None and len(class_weight):
            sample_weight = weigh_classes(self.y, sample_weight, class_weight)
        self.arrays = pack_x_y_sample_weight(self.x, self.y, sample_weight)
        self.full_batch = min(int(batch_size or 32), self.rows)
        self.shuffle = shuffle
        self.batches = -(-self.rows // self.full_batch)
        self.steps = min(steps, self.batches) if steps else self.batches
        self.asked = steps
        self._device = None
        self._rest = None              # the part of an order that steps_per_epoch left over

    def first_batch(self):
        """Return a batch to look at; nothing is consumed."""
        return self.cut(np.arange(min(self.full_batch, self.rows)))

    def cut(self, rows):
        """Return the batch made of these rows (an array of numbers or a slice), as NumPy arrays."""
        return nest.map_structure(lambda array: None if array is None else array[rows], self.arrays)

    def bytes(self):
        """Return the size of all arrays."""
        return sum(leaf.nbytes for leaf in nest.flatten(self.arrays) if leaf is not None)

    def on_device(self):
        """Return the arrays as copies on the device, made once."""
        if self._device is None:
            self._device = nest.map_structure(
                lambda leaf: None if leaf is None else engine.to_device(np.array(leaf, order="C")), self.arrays)
        return self._device

    def order(self):
        """Return the rows of the next epoch in order."""
        if self._rest is not None and len(self._rest):
            order, self._rest = self._rest, None
        elif self.shuffle == "batch":
            generator = engine.host_generator(None)
            blocks = [np.arange(i, min(i + self.full_batch, self.rows)) for i in range(0, self.rows, self.full_batch)]
            full = blocks[:-1] if len(blocks[-1]) < self.full_batch else blocks
            order = np.concatenate([full[i] for i in generator.permutation(len(full))] + blocks[len(full):])
        elif self.shuffle:
            order = engine.host_generator(None).permutation(self.rows)
        else:
            order = np.arange(self.rows)
        if self.asked:
            end = self.asked * self.full_batch
            if self.asked > -(-len(order) // self.full_batch):
                warnings.warn(RAN_OUT, stacklevel=4)
            order, self._rest = order[:end], order[end:]
        return order

    def epoch(self, given=0, at_once=1):
        """Yield the batches of one epoch, `at_once` of them as one, of which `given` have been done before."""
        order, size = self.order(), self.full_batch * at_once
        for start in range(given * self.full_batch, len(order), size):
            rows = order[start:start + size]
            yield self.cut(rows if self.shuffle else slice(rows[0], rows[-1] + 1))

    def finish_epoch(self):
        """Nothing to tell."""

    def position(self):
        """Return what a checkpoint stores of where the data stand: the rows that steps_per_epoch left over."""
        return {"rest": self._rest}

    def go_to(self, position):
        """Continue where `position()` was taken."""
        self._rest = None if position is None else position["rest"]

    def fingerprint(self):
        """Return what tells these data from others: rows, shapes, a check sum of some rows, how they are cut."""
        some = np.unique(np.linspace(0, self.rows - 1, 256).astype(np.int64))
        leaves = [leaf for leaf in nest.flatten(self.arrays) if leaf is not None]
        total = 0
        for leaf in leaves:
            rows = leaf[some]
            total = zlib.crc32(repr(rows.tolist()).encode() if rows.dtype.kind in "OUS" else rows.tobytes(), total)
        return {"rows": self.rows, "arrays": ", ".join(f"{leaf.dtype}{list(leaf.shape[1:])}" for leaf in leaves),
                "content": total, "batch size": self.full_batch, "steps per epoch": self.asked,
                "shuffle": str(self.shuffle)}


class PlannedSource(ArraySource):
    """A tf.data.Dataset that is slices of arrays, shuffled and cut in batches: the arrays themselves, in its order.

    So that training can keep them on the device and do many steps a dispatch, as for arrays.

    Args:
        dataset: the Dataset.
        plan: its InMemoryPlan.
    """

    def __init__(self, dataset, plan):
        self.dataset, self.plan, self.arrays = dataset, plan, plan.arrays
        self.x, self.y, _ = unpack_x_y_sample_weight(plan.arrays)
        leaves = nest.flatten(plan.arrays)
        self.rows, self.shuffle, self.asked = len(leaves[0]), plan.shuffle is not None, None
        self.full_batch = min(plan.batch_size, self.rows)
        self.steps = self.batches = int(dataset.cardinality())
        self._device = self._rest = None

    def order(self):
        """Return the rows of the next epoch in the dataset's order."""
        order = self.plan.order()
        return order[:self.steps * self.full_batch] if self.plan.drop_remainder else order

    def position(self):
        """Return what a checkpoint stores: the dataset's position between two epochs."""
        return iter(self.dataset).state()

    def go_to(self, position):
        """Continue where `position()` was taken."""
        if position is not None:
            iter(self.dataset).restore(position)

    def fingerprint(self):
        """Return what tells these data from others."""
        return {**super().fingerprint(), "shuffle": iter(self.dataset).state()["plan"]}


def planned(dataset, steps, class_weight):
    """Return a PlannedSource for a dataset that lies in memory and is small enough for the device, or None."""
    find = getattr(dataset, "_in_memory_plan", None)
    plan = find() if find is not None and not steps and not class_weight else None
    if plan is None or plan.repeat != 1:
        return None
    leaves = nest.flatten(plan.arrays)
    if not all(isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufV" for leaf in leaves) \
            or sum(leaf.nbytes for leaf in leaves) > MOST_BYTES or not len(leaves[0]) \
            or (isinstance(plan.arrays, tuple) and len(plan.arrays) > 3) or not int(dataset.cardinality()):
        return None
    return PlannedSource(dataset, plan)


class StreamSource:
    """Batches that something else makes: a Dataset, a PyDataset, a generator, a loader, any iterable.

    Args:
        data: what yields batches.
        steps: batches an epoch; needed for endless data.
        class_weight: class number -> weight.
        shuffle: shuffle the order of a PyDataset's batches.
    """

    in_memory = False

    def __init__(self, data, steps=None, class_weight=None, shuffle=False):
        self.data, self.asked, self.class_weight = data, steps, class_weight
        self.shuffle = shuffle and is_sequence(data) and not is_dataset(data)
        self.full_batch = None
        self._iterator, self._peeked = None, []
        self._made, self._before_peek, self._since = None, None, 0   # batches since the data began
        self._began = None                    # random states when the data began
        self._ended = False                   # a run goes on after an epoch's last batch, in its validation
        self._one_pass = inspect.isgenerator(data) or hasattr(data, "__next__") and not is_sequence(data)
        self._used_up = False
        length = None if steps else known_length(data)
        if length == float("inf"):
            raise ValueError("The data is endless (a repeated dataset), so an epoch has no end. Give "
                             "steps_per_epoch (validation_steps, or steps in evaluate and predict).")
        if length == 0:
            raise ValueError("The data is empty: it yields no batch.")
        if steps is None and endless_generator(data):
            raise ValueError(f"The generator '{data.gi_code.co_name}' never ends (while True), so an epoch has no end. "
                             "Give steps_per_epoch (validation_steps, or steps in evaluate and predict).")
        self.steps = steps or length

    def first_batch(self):
        """Return the first batch; it is yielded again by the next epoch."""
        if self._iterator is None:
            self._iterator = self._begin()
        if not self._peeked:
            self._before_peek = self.position()
            batch = next(self._iterator, None)
            if batch is None:
                raise ValueError("The data is empty: it yields no batch."
                                 + (" The generator is used up; make a new one." if self._one_pass else ""))
            self._peeked.append(batch)
        return self._peeked[0]

    def epoch(self, given=0):
        """Yield the batches of one epoch, of which `given` have been done before."""
        if self._ended:
            self._ended = False
            return
        if self._iterator is None:
            if self._used_up and self._one_pass:
                raise ValueError("The generator is used up: it gave all its batches in an earlier epoch. Give a "
                                 "PyDataset or a Dataset, or a generator that goes on and steps_per_epoch.")
            self._iterator = self._begin()
        while self.asked is None or given < self.asked:
            batch = self._peeked.pop() if self._peeked else next(self._iterator, None)
            if batch is None:
                self._iterator, self._used_up = None, True
                if self.asked is not None and self._since and is_dataset(self.data):
                    self._iterator, self._since = self._begin(), 0     # a Dataset that ends early starts again
                    continue
                if self.asked is not None:
                    warnings.warn(RAN_OUT, stacklevel=3)
                if given == 0 and not self._one_pass:
                    raise ValueError("The data yields no batch.")
                break
            given, self._since = given + 1, self._since + 1
            yield batch
        if self.steps is None and not self._one_pass:
            self.steps = given

    @property
    def finished(self):
        """Whether this is a generator that has given its last batch: no epoch can follow."""
        return self._one_pass and self._used_up

    def position(self):
        """Return what a checkpoint stores of where the data stand: after the batches given; None: they begin anew."""
        if not is_dataset(self.data):
            return None if self._iterator is None else {"given": self._since, "began": self._began}
        if self._peeked:
            return self._before_peek
        made = self._made if self._iterator is not None else iter(self.data)
        return {"state": made.state(), "between": self._iterator is None} if hasattr(made, "state") else None

    def go_to(self, position, inside=False):
        """Continue where `position()` was taken; what follows is the same to the bit.

        Args:
            inside: within an epoch: where the data stand between two epochs, this one has no batches left.
        """
        self._ended = inside and (position is None or bool(position.get("between")))
        if is_dataset(self.data):
            if position is not None:
                self._peeked = []
                self._iterator = self._begin()
                self._made.restore(position["state"])
                self._since = 1
                if position["between"]:
                    self._iterator = None
            return
        if not self._one_pass:
            self._iterator, self._peeked = None, []
        if position is not None:
            engine.restore_stream(tuple(position["began"][0]))
            np.random.set_state(position["began"][1])
            if self._iterator is None:
                self._iterator = self._begin()
            while self._since < position["given"]:          # the same batches once more, and away
                if self._peeked:
                    self._peeked.pop()
                elif next(self._iterator, None) is None:
                    raise ValueError(f"The data give {self._since} batches, but the run that is to go on had read "
                                     f"{position['given']}.")
                self._since += 1

    def fingerprint(self):
        """Return what tells these data from others."""
        return {"kind": type(self.data).__name__, "batches": str(None if self._one_pass else known_length(self.data)),
                "steps per epoch": self.asked}

    def finish_epoch(self):
        """Tell a PyDataset that the epoch ended."""
        if is_sequence(self.data) and not is_dataset(self.data) and hasattr(self.data, "on_epoch_end"):
            self.data.on_epoch_end()

    def _begin(self):
        data, self._since = self.data, 0
        self._began = (engine.stream_state(), np.random.get_state(legacy=True))
        if is_dataset(data):
            made = self._made = data._batches_numpy() if hasattr(data, "_batches_numpy") else iter(data)
        elif is_sequence(data):
            from fitloom.trainer.py_dataset import read
            made = read(data, self.shuffle)
        else:
            made = iter(data)
        return (self._clean(batch) for batch in made)

    def _clean(self, batch):
        """Bring one batch into the form of a step's data, as arrays."""
        if isinstance(batch, list) and not is_dataset(self.data):
            batch = tuple(batch)              # a torch loader collates to lists
        if isinstance(batch, tuple) and len(batch) > 3:
            unpack_x_y_sample_weight(batch)   # raises
        batch = nest.map_structure(_component if isinstance(self._made, Batches) else _leaf, batch)
        if self.class_weight:
            x, y, weight = unpack_x_y_sample_weight(batch)
            plain = nest.map_structure(lambda leaf: None if leaf is None else np.asarray(leaf), (y, weight))
            batch = pack_x_y_sample_weight(x, y, weigh_classes(*plain, self.class_weight))
        return batch


def _component(value):
    """Bring one component of one of our datasets into form: numbers as they are, nobody else writes into them."""
    return value if type(value) is np.ndarray and value.dtype.kind in "biufcV" else _leaf(to_tensor(value))


def _leaf(value):
    if value is None or isinstance(value, engine.Tensor):
        return value
    if isinstance(value, np.ndarray):         # a copy: whoever made it may write into it for the next batch
        validation.check_kind("a batch", value)
        return value.astype(config.floatx() if value.dtype == np.float64 else value.dtype)
    if is_array(value):
        return to_numpy(value, "a batch")
    if hasattr(value, "to_tensor"):           # ragged
        raise ValueError("A batch is ragged (rows of different lengths). Pad it: dataset.padded_batch(...), or "
                         ".to_tensor() in a map.")
    raise ValueError(f"A batch must consist of arrays, but it contains a {type(value).__name__}: {value!r:.80}.")


def known_length(data):
    """Return the number of batches: an int, infinity, or None if unknown."""
    if is_dataset(data):
        size = int(data.cardinality()) if hasattr(data, "cardinality") else -2
        return float("inf") if size == -1 else None if size < 0 else size
    if is_sequence(data) and getattr(data, "num_batches", None) is not None:
        return data.num_batches
    try:
        return len(data)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def endless_generator(data) -> bool:
    """Whether a fresh generator's code has no way to return: `while True` without break, return or raise."""
    if not inspect.isgenerator(data):
        return False
    try:
        import ast
        import textwrap
        tree = ast.parse(textwrap.dedent(inspect.getsource(data.gi_code)))
    except (OSError, SyntaxError, TypeError):
        return False
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.FunctionDef) else []
    for node in body:
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value:
            inside = list(itertools.chain.from_iterable(ast.walk(child) for child in node.body))
            return not any(isinstance(child, (ast.Return, ast.Break, ast.Raise, ast.Try, ast.With))
                           or (isinstance(child, ast.Call) and getattr(child.func, "id", "") == "next")
                           for child in inside)
    return False


def open_source(x, y=None, sample_weight=None, batch_size=None, steps=None, shuffle=False, class_weight=None,
                check=True):
    """Return a source of batches for what a user passed as x, y and sample_weight."""
    if isinstance(x, (ArraySource, StreamSource)):
        return x
    if x is None:
        if y is None:
            raise ValueError("No data: x is None. Give x (and y), or a dataset.")
        raise ValueError("x is None, but y is given. Give x: the model's input.")
    streaming = is_dataset(x) or is_sequence(x) or inspect.isgenerator(x) or is_loader(x)
    if not streaming:
        return ArraySource(x, y, sample_weight, batch_size, shuffle, class_weight, steps, check)
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(f"x is a {type(x).__name__} that yields whole batches, so `{name}` should not be passed: "
                             "let it yield (x, y) or (x, y, sample_weight).")
    if batch_size is not None:  # Keras ignores it, and its guides pass it
        warnings.warn(f"x is a {type(x).__name__} that yields whole batches, so batch_size={batch_size} means "
                      "nothing. Set the size where the batches are made, for example with dataset.batch(...).",
                      stacklevel=4)
    if is_dataset(x):
        x = between_workers(x)
        found = planned(x, steps, class_weight)
        if found is not None:
            return found
    return StreamSource(x, steps, class_weight, shuffle)


def one_batch(x, y=None, sample_weight=None, class_weight=None):
    """Return a source that holds exactly one batch."""
    return ArraySource(x, y, sample_weight, batch_size=1 << 31, class_weight=class_weight, check=False)


def split(x, y, sample_weight, fraction):
    """Return the first part and the last `fraction` of the rows: (x, y, sample_weight), validation data."""
    if is_dataset(x) or is_sequence(x) or inspect.isgenerator(x) or is_loader(x):
        raise ValueError(f"validation_split needs arrays in memory, but x is a {type(x).__name__}. Give "
                         "validation_data.")
    parts = [to_arrays(part, label) for part, label in ((x, "x"), (y, "y"), (sample_weight, "sample_weight"))]
    named = [(validation.label_of(path, label), leaf) for part, label in zip(parts, ("x", "y", "sample_weight"))
             if part is not None for path, leaf in validation.paths(part) if leaf is not None]
    if not named:
        raise ValueError("No data: x is None.")
    rows = validation.check_lengths(named)
    at = int(np.floor(rows * (1.0 - fraction)))
    if at == 0 or at == rows:
        raise ValueError(f"validation_split={fraction} of {rows} samples leaves {at} for training and {rows - at} for "
                         "validation; both must be at least 1.")

    def cut(rows_slice):
        return tuple(None if part is None else nest.map_structure(
            lambda leaf: None if leaf is None else leaf[rows_slice], part) for part in parts)
    first, last = cut(slice(None, at)), cut(slice(at, None))
    return first, last if last[2] is not None else last[:2] if last[1] is not None else last[:1]


def open_validation(data, batch_size, steps, with_targets=True):
    """Return a source for `validation_data`: (x, y), (x, y, sample_weight) or anything that yields batches.

    An array alone is taken for x where the training data have no targets either.
    """
    if isinstance(data, (tuple, list)):
        if isinstance(data, list) or not 1 <= len(data) <= 3:
            if len(data) not in (2, 3):
                raise ValueError("validation_data must be (x, y), (x, y, sample_weight), or something that yields "
                                 f"batches, but received a {type(data).__name__} of {len(data)}.")
        x, y, sample_weight = (*data, None, None)[:3]
        return open_source(x, y, sample_weight, batch_size, steps)
    if is_array(data) and not with_targets:
        return open_source(data, None, None, batch_size, steps)
    if is_array(data):
        raise ValueError("validation_data must be (x, y), (x, y, sample_weight), or something that yields batches, but "
                         f"received a single {type(data).__name__}. Give the targets too: (x, y).")
    return open_source(data, steps=steps)
