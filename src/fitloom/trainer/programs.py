# SPDX-License-Identifier: Apache-2.0
"""The compiled steps of a model, and how an epoch's batches are handed to them."""
import contextlib
import itertools
import time
import warnings
import weakref

import numpy as np

from fitloom import engine
from fitloom.base import dtypes, nest
from fitloom.base.errors import NoValueError, OperatorNotAllowedInGraphError, ValueNotKnownError
from fitloom.distribute.strategy import WholeBatch, adopt, in_cluster, strategy_of
from fitloom.monitor import summaries
from fitloom.ops.kernels import fusion
from fitloom.trainer import compiling, steps, validation
from fitloom.trainer.compiling import compiled_of
from fitloom.trainer.waiting import Waiting

RESIDENT_BYTES = 1 << 30        # arrays up to this size go to the device once, as a whole
MERGED_BYTES = 16 << 20          # predict takes several batches as one while what they compute stays about this small
DISPATCH_SECONDS = 0.1          # so much work a dispatch at most: progress and Ctrl-C stay responsive
# what is raised where Python needs a value while a step is traced
VALUE_NEEDED = (ValueNotKnownError, OperatorNotAllowedInGraphError, NoValueError)
_STEPS = {"train": "train_step", "test": "test_step", "predict": "predict_step"}


class Program:
    """One compiled step ('train', 'test' or 'predict') of a model.

    The step is pure: weights, optimizer slots, metrics and seeds go in and come out, their buffers donated. Batches
    are dispatched one by one, or, where the data is in memory, many in one loop on the device.

    With `jit_compile=False` the step is traced all the same, and its operations run one at a time. A step that needs a
    value while it is traced runs as Python then, as with `run_eagerly=True`.

    Args:
        model: the model.
        mode: 'train', 'test' or 'predict'.
    """

    def __init__(self, model, mode):
        self.model, self.mode = model, mode
        self.eager, self.signature = runs_eagerly(model), signature_of(model)
        self.jitted = jit_compiles(model)
        self.pads = can_pad(model, mode)
        maker = f"make_{mode}_function"        # an own one takes an iterator and runs as it is
        self.custom = None if is_default(model, maker) else getattr(model, maker)()
        # XLA:CPU runs a convolution's backward pass many times slower inside a loop (PERFORMANCE.md, point 5)
        kinds = [type(layer).__name__ for layer in compiling.nested_layers(model)]
        self.convolves = any("Conv" in kind for kind in kinds)
        recurs = not {"LSTM", "GRU"}.isdisjoint(kinds)
        joins = self.convolves or recurs and mode != "train"       # what `fusion` finds there
        # whether batches hold text, known after the first; or a step needs values that only Python has
        self.text = True if mode in model.__dict__.get("_steps_on_host", ()) else None
        self.seconds = None            # measured time of a step
        self._merged = {}              # how many batches of a shape are predicted as one
        strategy = strategy_of(model)
        self.guard = model.__dict__.get("_nan_guard") if mode == "train" else None
        # A model that was frozen as a whole after compile() trains as it was compiled, if it is trained at all: the
        # discriminator inside a GAN. Keras 2 did so for every change of `trainable`.
        compiled = compiled_of(model)
        self._frozen = mode == "train" and compiled is not None and not model.trainable and bool(model.weights)
        self._replicas = contextlib.nullcontext() if strategy is None else WholeBatch(strategy)
        self._dispatched, self._latest, self.destination = 0, None, summaries.Destination()
        # Variables know the program that has them on loan, so it must not keep the model alive.
        myself = weakref.proxy(self)
        variables = list(model.variables) if mode == "predict" else state_of(model)
        if self.guard is not None:
            if self.custom is not None:
                raise ValueError("fit(nan=...) cannot look into an own make_train_function.")
            variables = variables + self.guard.variables
        self._variables = variables if self.guard is not None else ()
        self._program = None if self.eager else engine.StepProgram(
            lambda data, mask: myself._step(data, mask), variables, fetch=_gather, donate=mode != "predict",
            compiled=self.jitted, rewrite=fusion.fused if joins else None)

    def _step(self, data, mask):
        with steps.counting_only(mask), self._replicas, self.destination, \
                compiled_of(self.model).as_compiled(self.model) if self._frozen else contextlib.nullcontext():
            try:
                if self.guard is not None:
                    return self.guard.step(lambda: self._logs_or_predictions(data), self._variables)
                return self._logs_or_predictions(data)
            finally:
                if self._program is not None:
                    self.model._clear_losses()   # what add_loss() collected belongs to the program being traced

    def _logs_or_predictions(self, data):
        result = getattr(self.model, _STEPS[self.mode])(data)
        if self.mode == "predict" or isinstance(result, dict):
            return result
        if result is not None:
            raise TypeError(f"{_STEPS[self.mode]} of model '{self.model.name}' must return a dict of logs, for example "
                            f"{{'loss': loss}}, but it returned {result!r:.80}.")
        return {}

    def __call__(self, data, mask=None):
        """Run one batch; return the logs or predictions, still on the device."""
        if self.custom is not None:
            return self.custom(iter([nest.map_structure(device, data)]))
        if self.eager or self._takes_text(data):
            result = self._run_eagerly(data, mask)
        else:
            try:
                result = engine.wrap(self._program.step(nest.map_structure(_raw, data), mask))
            except VALUE_NEEDED as error:
                self._turn_to_python(error)
                result = self._run_eagerly(data, mask)
        if self.guard is not None:
            result = self.guard.note(result, 1, lambda i: data)
        if self.mode == "train":
            self._latest = result
        return result

    def _turn_to_python(self, error):
        """From now on run the steps as Python; raise the error if that is not allowed.

        A shape that depends on values is no mistake: the original's programs have such shapes, ours have not.
        """
        on_host = self.model.__dict__.setdefault("_steps_on_host", set())
        if self.jitted:
            if "refused" in on_host or self.guard is not None or not isinstance(error, ValueNotKnownError):
                raise error
            warnings.warn(f"The {_STEPS[self.mode]} of model '{self.model.name}' runs uncompiled, operation by "
                          f"operation, because {str(error)[:1].lower()}{str(error)[1:]}", stacklevel=2)
        on_host.add(self.mode)
        self.text = True

    def _run_eagerly(self, data, mask):
        with engine.eager_scope():
            return self._step(nest.map_structure(device, data), device(mask))

    def _takes_text(self, data):
        """Whether batches hold text: it lives on the host, so the step runs operation by operation."""
        if self.text is None:
            self.text = any(getattr(leaf, "dtype", None) in (object, dtypes.string) for leaf in nest.flatten(data))
        return self.text

    def padded(self, data, size):
        """Run one batch of at most `size` rows, filled up to `size`, so that no new shape is compiled."""
        rows = rows_in(data)
        if rows is None or rows >= size or not self.pads:
            return self(data)
        fill = np.resize(np.arange(rows), size)      # real rows again: finite wherever the data is
        data = nest.map_structure(lambda leaf: None if leaf is None else np.asarray(leaf)[fill], data)
        mask = None if self.mode == "predict" else np.arange(size) < rows
        result = self(data, mask)
        if self.mode == "predict":
            result = nest.map_structure(lambda leaf: host(leaf)[:rows], result)
        return result

    # -- an epoch

    def work(self, source, every_batch, group, resume=None):
        """Yield (first step, last step, run) for an epoch: `run()` computes these steps and returns the last logs.

        Args:
            source: where the batches come from.
            every_batch: somebody listens to single batches (or groups of `group`).
            group: steps_per_execution.
            resume: None, or the Place in this epoch where a run goes on: its `step` batches are skipped.
        """
        if self.loops(source):
            yield from self._resident(source, every_batch, group, resume)
        elif self.mode == "predict" and not every_batch and (many := self._batches_at_once(source)) > 1:
            first, size = 0, source.full_batch * many
            for batch in source.epoch(at_once=many):
                rows = rows_in(batch)
                wanted = size if first else min(size, _power_of_two(rows))   # some rows more cost less than a program
                yield first, first - (-rows // source.full_batch) - 1, lambda batch=batch, wanted=wanted: self.padded(
                    batch, wanted)
                first -= -rows // source.full_batch
        else:
            yield from self._streamed(source, group, resume)

    def loops(self, source):
        """Whether the batches are gathered on the device, many steps a dispatch."""
        return (source.in_memory and not self.eager and not self._takes_text(source.arrays)
                and self.custom is None and self.mode != "predict" and source.bytes() <= RESIDENT_BYTES
                and not self.convolves and self.jitted and not (self.mode == "test" and source.batches == 1))

    def _batches_at_once(self, source):
        """Return how many batches can be predicted as one: where no row looks at another, as many as stay small.

        What counts is the size of all results on the way, so the same call always computes the same bits.
        """
        if (not source.in_memory or source.batches == 1 or self.eager or not self.jitted or self.custom is not None
                or not self.pads or self._takes_text(source.arrays)):
            return 1
        key = (source.full_batch, *((leaf.shape[1:], leaf.dtype) for leaf in nest.flatten(source.arrays)
                                    if leaf is not None))
        if key not in self._merged:
            bytes_computed = max(self._program.bytes_computed(source.first_batch(), None), 1)
            # a power of two, so that batches of every size share few programs
            self._merged[key] = max(1, _power_of_two(MERGED_BYTES // bytes_computed + 1) // 2)
        return self._merged[key]

    def _streamed(self, source, group, resume):
        batches, first = source.epoch(), 0
        if resume is not None:
            first, batches = resume.step, source.epoch(resume.step)        # the source stands there already
            if source.in_memory:                                           # its order is drawn before we arrive
                batches = itertools.chain(list(itertools.islice(batches, 1)), batches)
            resume.arrive()
        clock = Waiting()
        if hasattr(source, "data"):
            source.waiting = clock
        while True:
            batch = clock.next(batches, self._latest)
            if batch is None:
                return
            if group == 1:
                yield first, first, lambda batch=batch: self._sized(batch, source)
                first += 1
                continue
            several = [batch, *itertools.islice(batches, group - 1)]
            yield first, first + group - 1, lambda several=several: self._each(several, source)
            first += len(several)

    def _each(self, several, source):
        results = [self._sized(batch, source) for batch in several]
        if self.mode != "predict" or len(results) == 1:
            return results[-1]
        return nest.map_structure(lambda *parts: np.concatenate([host(part) for part in parts]), *results)

    def _sized(self, batch, source):
        rows = rows_in(batch) or 0
        if not source.in_memory:
            validation.check_indices(self.model, steps.unpack_x_y_sample_weight(batch)[0])
        if source.full_batch is None:
            source.full_batch = rows
        if self.mode == "predict" and source.steps == 1 and rows:
            # small predictions of any size share few programs: the next power of two
            return self.padded(batch, _power_of_two(rows))
        return self.padded(batch, source.full_batch)

    def _resident(self, source, every_batch, group, resume):
        order, size, first = source.order(), source.full_batch, 0
        if resume is not None:
            first = resume.step
            resume.arrive()
        total = -(-len(order) // size)
        whole = total if self.pads or len(order) % size == 0 else total - 1
        mask = len(order) % size != 0 and self.pads
        if whole:
            arrays = source.on_device()
            rows = np.resize(order, whole * size) if whole * size > len(order) else order[:whole * size]
            index = engine.to_device(np.ascontiguousarray(rows, np.int32).reshape(whole, size))
            lanes = np.arange(size, dtype=np.int32)
            limit = np.int32(len(order)) if mask else None
            while first < whole:
                count = min(group if every_batch else self._pace(group), whole - first)
                with_rest = every_batch and count < group and whole < total       # the last group of batches

                def one_by_one(first=first, count=count, with_rest=with_rest):
                    for i in range(first, first + count + with_rest):
                        logs = self(source.cut(order[i * size:(i + 1) * size]))
                    return logs

                def run(first=first, count=count, with_rest=with_rest, one_by_one=one_by_one):
                    if self.text:
                        return one_by_one()
                    begin = time.perf_counter()
                    try:
                        logs = engine.wrap(self._program.run(first, count, arrays, index, lanes, limit))
                    except VALUE_NEEDED as error:
                        self._turn_to_python(error)
                        return one_by_one()
                    if self.guard is not None:
                        logs = self.guard.note(logs, count, lambda i: source.cut(
                            order[(first + i) * size:(first + i + 1) * size]))
                    self._measure(begin, count, logs)
                    return self(source.cut(order[whole * size:])) if with_rest else logs
                yield first, first + (group if every_batch else count) - 1, run
                first += count + with_rest
        if first <= whole < total:
            yield whole, whole + (group if every_batch else 1) - 1, lambda: self(source.cut(order[whole * size:]))

    def _pace(self, group):
        """Return how many steps the next dispatch takes: first 1 (it compiles), then 8 (timed), then by the clock."""
        if in_cluster():                           # by no clock: all workers must start the same programs
            return group
        if self.seconds is None:
            return group if self._dispatched == 0 else max(group, 8)
        count = max(1, int(DISPATCH_SECONDS / self.seconds))
        return max(count // group * group, group)

    def _measure(self, begin, count, logs):
        self._dispatched += 1
        if self._dispatched == 2 and self.seconds is None:
            for leaf in nest.flatten(logs)[:1]:
                leaf.numpy()                          # the one time that we wait for a step, to time it
            self.seconds = max((time.perf_counter() - begin) / count, 1e-7)


def _gather(i, arrays, index, lanes, limit):
    """Return batch `i` of arrays on the device, and which of its rows count."""
    rows = index[i]
    batch = nest.map_structure(lambda a: None if a is None else a.at[rows].get(mode="promise_in_bounds"), arrays)
    return batch, None if limit is None else i * len(lanes) + lanes < limit


def _raw(leaf):
    return leaf.array if isinstance(leaf, (engine.Tensor, engine.Variable)) else leaf


def device(leaf):
    """Return an array as a Tensor; None stays None."""
    return leaf if leaf is None or isinstance(leaf, engine.Tensor) else engine.convert_to_tensor(leaf)


def host(tensor):
    """Return a tensor or an array as NumPy: device to host."""
    return np.asarray(tensor.numpy()) if isinstance(tensor, engine.Tensor) else np.asarray(tensor)


def _power_of_two(count):
    """Return the next power of two."""
    return 1 << (count - 1).bit_length()


def rows_in(data):
    """Return the number of rows of a batch, or None if its arrays do not agree on one."""
    sizes = {leaf.shape[0] for leaf in nest.flatten(data) if leaf is not None and len(leaf.shape)}
    return int(sizes.pop()) if len(sizes) == 1 else None


# -- which program

def program_for(model, mode) -> Program:
    """Return the model's program for a mode, made anew when weights, freezing, optimizer or metrics changed.

    Also where its summaries would go to another writer.
    """
    cache = model.__dict__.setdefault("_programs", {})
    program = cache.get(mode)
    if program is None or program.eager != runs_eagerly(model) or program.signature != signature_of(model) \
            or program.destination.elsewhere():
        program = cache[mode] = Program(model, mode)
    return program


def runs_eagerly(model) -> bool:
    """Whether a step runs as Python: asked for, or operation by operation on several devices."""
    return bool(getattr(model, "run_eagerly", False)) or engine.functions_run_eagerly() or (
        not jit_compiles(model) and strategy_of(model) is not None)


def jit_compiles(model) -> bool:
    """Whether a step is one compiled program; `jit_compile=False` asks for one operation at a time."""
    return getattr(model, "jit_compile", True) is not False


def state_of(model):
    """Return the variables a step reads or assigns, as far as they are known before it is traced."""
    found = list(model.variables)
    optimizer = model.__dict__.get("optimizer")
    if optimizer is not None:
        found += optimizer.variables
    compiled = compiled_of(model)
    if compiled is not None:
        measured = [variable for metric in compiling.metrics(model) for variable in metric.variables]
        engine.pack(measured)          # one small buffer instead of two for each mean
        found += measured
    found = list({id(variable): variable for variable in found}.values())
    strategy = strategy_of(model)
    if strategy is not None:
        adopt(strategy, found)
    return found


def signature_of(model):
    """Return what a compiled step depends on, apart from shapes."""
    return (tuple((id(v), v.trainable) for v in model.variables), id(model.__dict__.get("optimizer")),
            id(compiled_of(model)), id(model.__dict__.get("_nan_guard")), jit_compiles(model))


def is_default(model, name) -> bool:
    """Whether the model's class left a step to us."""
    method = getattr(type(model), name, None)
    return method is not None and method.__module__.partition(".")[0] == "fitloom"


def make_function(model, mode, force=False):
    """Return (and keep as `model.<mode>_function`) a function that runs the next batch of an iterator."""
    name = f"{mode}_function"
    if model.__dict__.get(name) is None or force:
        program = Program(model, mode) if force else program_for(model, mode)
        model.__dict__[name] = lambda iterator: program(next(iterator))
    return model.__dict__[name]


def can_pad(model, mode) -> bool:
    """Whether rows can be added to a batch without changing any other row's result, the loss or a metric."""
    if not all(is_default(model, name) for name in (_STEPS[mode], "compute_loss", "compute_metrics")):
        return False
    compiled = compiled_of(model)
    if mode != "predict":
        if compiled is None:
            return False
        losses = compiled.compile_loss.losses if compiled.compile_loss is not None else []
        if any(loss is not None and not _loss_by_row(loss) for loss in losses):
            return False
        measured = compiled.compile_metrics.metrics if compiled.compile_metrics is not None else []
        if any(not _own(metric) for metric in measured) or model.__dict__.get("_metrics"):
            return False
    return all(_row_by_row(layer, mode) for layer in (model, *compiling.nested_layers(model)))


_ACROSS_ROWS = ("dice", "tversky", "circle")     # by default these functions reduce over the batch too


def _loss_by_row(loss):
    if getattr(loss, "reduction", None) in (None, "none"):
        return False
    if type(loss).__name__ == "LossFunctionWrapper" and _own(loss):
        return loss.fn.__name__ not in _ACROSS_ROWS
    return bool(getattr(loss, "per_example", False))


def _own(thing):
    function = getattr(thing, "fn", getattr(thing, "_fn", None))
    return type(thing).__module__.startswith("fitloom.") and \
        (function is None or getattr(function, "__module__", "").startswith("fitloom."))


def _row_by_row(layer, mode):
    if getattr(layer, "activity_regularizer", None) is not None or not _own(layer) \
            or layer.__dict__.get("_symbolic_losses"):
        return False
    if type(layer).__module__.startswith("fitloom.models") or type(layer).__name__ == "InputLayer":
        return True                       # a graph of layers, each of which is asked
    return bool(getattr(layer, "per_example", False)) or \
        (mode != "train" and type(layer).__name__ == "BatchNormalization")
