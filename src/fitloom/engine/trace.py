# SPDX-License-Identifier: Apache-2.0
"""A trace: the work recorded by one thread since the last flush.

A trace is a path in a trie of entries, so "the same loop body again" is found by following pointers; at a flush the
trie node, the live results and the storage layout select one compiled program (program.py).
"""
import sys
import time
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from fitloom.base.errors import InvalidArgumentError
from fitloom.engine.avals import FLOAT, INT, SEED, aval, aval_of
from fitloom.engine.checking import check_results, raise_failed, user_line
from fitloom.engine.context import CLOSED, CONTEXT, LOCK, SETTINGS
from fitloom.engine.interpreter import TooSlowError
from fitloom.engine.placement import Placement, placement_of, spans_processes
from fitloom.engine.program import Interpreted, Program
from fitloom.engine.seeds import next_host_seed
from fitloom.engine.store import FLOATS, INTS, MEMBER, SEEDS, repack
from fitloom.engine.tensor import Tensor, pending

CAP = 250              # entries after which a trace runs one operation at a time: compile time grows faster than length
ALIKE = 16             # programs of the same operations and lines after which a loop is said to change its shapes
MOST_PROGRAMS = 2_000  # compiled programs after which everything remembered is dropped
SHAPES_KEPT = 256      # shapes met once after which jax's caches are dropped: they keep 0.2 MB for each, without end
MOST_NODES = 20_000    # trie nodes after which everything remembered is dropped (a loop that changes shape for ever)
_FLOAT32, _INT32 = np.dtype(np.float32), np.dtype(np.int32)


class Node:
    """A trace so far. The same entries from the root lead to the same node."""

    __slots__ = ("parent", "entry", "start", "next", "programs", "ready", "memos", "gradients", "depth", "line",
                 "choice", "__weakref__")

    def __init__(self, parent, entry, start, line):
        self.parent, self.entry, self.start, self.line = parent, entry, start, line
        self.next, self.programs, self.ready, self.memos, self.gradients = {}, {}, {}, {}, None
        self.choice = None                               # see varies()
        self.depth = 0 if parent is None else parent.depth + 1

    def entries(self):
        """Return [(instruction, slots, start)] from the root to here."""
        found, node = [], self
        while node.parent is not None:
            found.append(node.entry + (node.start,))
            node = node.parent
        return found[::-1]

    def lines(self):
        """Return the user's line of each entry, from the root to here."""
        found, node = [], self
        while node.parent is not None:
            found.append(node.line)
            node = node.parent
        return found[::-1]


class Path:
    """The same operations of the same lines, in all the shapes they were met with.

    A shape that is met for the first time on a path of many shapes is not worth a compilation: its operations run one
    at a time. When it comes again it is compiled. Where running so takes longer than compiling, compiling goes on.
    """

    __slots__ = ("compiled", "compiling", "interpreted", "interpreting")

    def __init__(self):
        self.compiled, self.compiling = 0, 0.0           # programs, and the seconds of their first runs
        self.interpreted, self.interpreting = 0, 0.0

    def changes(self):
        """Whether a new shape should run without a program."""
        return self.compiled >= ALIKE and not SETTINGS.deterministic and (
            self.interpreted < 2 or self.interpreting * self.compiled < self.compiling * self.interpreted)

    def first(self, program, trace, alive, stores):
        """Run a new program; remember how long it took with its compilation."""
        begin = time.perf_counter()
        program(trace, alive, stores)
        self.compiling += time.perf_counter() - begin
        self.compiled += 1

    def once(self, make, live, keep, trace, alive, stores):
        """Run without a program; whatever takes too long, or cannot be run so, is compiled."""
        begin = time.perf_counter()
        try:
            Interpreted(trace, live, keep, 2 * self.compiling / self.compiled)(trace, alive, stores)
        except (TooSlowError, NotImplementedError):      # nothing was written; jax runs no such primitive alone
            make()(trace, alive, stores)
        self.interpreting += time.perf_counter() - begin
        self.interpreted += 1
        TRIE.interpreted += 1
        if TRIE.interpreted % SHAPES_KEPT == 0:
            jax.clear_caches()


class _Trie:
    root, count = Node(None, None, 0, None), 0
    programs = interpreted = 0                 # compiled; runs without a program
    alike: dict = {}                           # operations and lines -> the Path they make in all their shapes
    varied: set = set()                        # lines whose static choices differ from trace to trace; see varies()
    said: set = set()                          # warnings given


TRIE = _Trie()


def forget_programs():
    """Drop every remembered trace and program (`clear_session`)."""
    with LOCK:
        TRIE.root, TRIE.count, TRIE.programs = Node(None, None, 0, None), 0, 0
        TRIE.alike, TRIE.varied = {}, set()


def varies(choice):
    """Whether a static choice of the operation to be recorded next (a place, say) was another one before.

    Then it should be an input of the program rather than a part of it. A difference that one trace has met at a line
    counts for that line in all; a line that chooses differently within a trace, but the same in every trace, is static.
    With `enable_op_determinism()` all choices are static: what came before must not decide which program runs.
    """
    trace = CONTEXT.trace
    if trace.inline or SETTINGS.deterministic:
        return False
    node = TRIE.root if trace.closed else trace.node
    if node.choice is None:
        node.choice = () if user_line() in TRIE.varied else choice
    elif node.choice != choice and node.choice != ():
        node.choice = ()
        TRIE.varied.add(user_line())
    return node.choice == ()


def say_once(message):
    """Warn the first time something of this kind happens (the kind is the message's last sentence)."""
    kind = message.rsplit(". ", 1)[-1]
    if kind not in TRIE.said:
        TRIE.said.add(kind)
        warnings.warn(message, stacklevel=3)


def forget_instruction(instruction):
    """Drop the traces that contain an instruction whose owner is gone."""
    for node in list(instruction.nodes):
        parent = node.parent
        if parent is not None:
            parent.next.pop(node.entry, None)
            for key in [k for k, memo in parent.memos.items() if getattr(memo, "next", None) is node]:
                del parent.memos[key]               # a memo holds the variables of its procedure


class Ledger:
    """What a trace knows of variables at one point of a path it has gone before.

    All traces that come there share it, so a loop's later steps keep no books of their own.
    """

    __slots__ = ("opened", "layouts", "slots", "log", "dirty")

    def __init__(self, trace=None):
        if trace is None:
            self.opened, self.layouts, self.slots, self.log, self.dirty = {}, (), {}, (), ()
        else:
            trace.where(None)
            self.opened, self.layouts, self.slots = dict(trace.opened), tuple(trace.layouts), dict(trace.slots)
            self.log, self.dirty = tuple(trace.log), tuple(trace.dirty)

    def describes(self, trace):
        """Whether the trace's own books say the same."""
        return self.opened == trace.opened and self.dirty == tuple(trace.dirty) and len(self.log) == len(trace.log) \
            and all(mine is its and at == start for (mine, at), (its, start) in zip(self.log, trace.log))


_EMPTY = Ledger()
_BOOKS = ("holders", "layouts", "slots", "late", "opened", "log", "dirty")


class Trace:
    """Work of one thread that was recorded and has not run, or has run but may still be differentiated.

    While it follows a known path its books are the `ledger` of the place where it is; the first step off the path
    gives it books of its own.
    """

    inline, recording, parent = False, True, None
    ledger = _EMPTY
    n = committed = 0                  # results so far; assignments that a flush has written already
    nested, finished = 0, False        # how many tapes are entered; whether the step's gradient has been taken
    closed, applied = False, None      # (optimizer, node after its update)
    eager, values, more = False, None, ()

    def __init__(self, eager=False):
        self.node, self.outs, self.leaves = TRIE.root, [], []
        self.tensors, self.floats, self.ints = {}, [], []      # foreign tensor -> slot; Python numbers
        self.tapes = []                                        # weak references
        if eager:
            self.eager, self.values, self.more = True, {}, []
            self.keep_books()

    def __getattr__(self, name):
        if name not in _BOOKS or self.ledger is None:
            raise AttributeError(f"Trace has no attribute {name!r}.")
        self.keep_books()
        return getattr(self, name)

    def keep_books(self):
        """Leave the known path: from here on the trace has books of its own."""
        ledger, self.ledger = self.ledger, None
        self.opened, self.layouts, self.slots = dict(ledger.opened), list(ledger.layouts), dict(ledger.slots)
        self.late = []                                         # slots that are not merged yet
        self.log, self.dirty = list(ledger.log), dict.fromkeys(ledger.dirty, True)   # assignments; stores to write
        self.holders = [None] * len(self.leaves)               # the stores that leaves come from
        for store, leaf in ledger.opened.items():
            self.holders[-leaf - 1] = store

    def settle(self, ledger):
        """Return to a ledger that says what the books say."""
        self.ledger = ledger
        del self.holders, self.layouts, self.slots, self.late, self.opened, self.log, self.dirty

    @property
    def wrote(self):
        """Whether a store waits for its value."""
        return bool(self.dirty if self.ledger is None else self.ledger.dirty)

    # -- inputs

    def leaf(self, value, holder=None):
        """Add an input; return its slot."""
        if holder is not None or self.ledger is None:
            self.holders.append(holder)
        self.leaves.append(value)
        return -len(self.leaves)

    def tensor(self, tensor):
        """Return the slot of a tensor that this trace did not make."""
        slot = self.tensors.get(tensor)
        if slot is None:
            if tensor.aval.dtype.hasobject:           # before it becomes an input: the trace stays usable
                raise InvalidArgumentError("The operation received a string tensor. String tensors live on the host: "
                                           "use tf.strings, or tf.py_function.")
            slot = self.tensors[tensor] = self.leaf(tensor.array)
        return slot

    def open(self, store):
        """Make a store an input with the value it has now: all its members get slots."""
        if store.writer is not None and store.writer is not self:
            store.writer.flush()
        value = store.value
        if value.__class__ is np.ndarray:
            value = store.current()
        leaf = self.leaf(value, store)
        self.opened[store] = leaf
        if store.layout is not None:
            self.layouts.append((leaf, store.layout))
        self.slots.update(store.slots_at(leaf))

    def where(self, variable):
        """Return the current slot of a variable, or None when it is not open here."""
        if self.ledger is not None:
            return self.ledger.slots.get(variable)
        if self.late:
            for slots in self.late:
                self.slots.update(slots)
            self.late = []
        return self.slots.get(variable)

    def slot(self, value):
        """Return the slot of a Tensor or Variable."""
        if value.__class__ is Tensor:
            return value.slot if value.trace is self else self.tensor(value)
        slot = self.where(value)
        if slot is None:
            self.open(value.store)
            slot = self.slots[value]
        return slot

    def number(self, value, dtype):
        """Return (slot, aval) of a Python number as an array of `dtype`."""
        if dtype == _FLOAT32:
            self.floats.append(value)
            return FLOATS - len(self.floats) + 1, FLOAT
        if dtype == _INT32:
            self.ints.append(value)
            return INTS - len(self.ints) + 1, INT
        return self.leaf(np.asarray(value, dtype)), aval((), dtype)

    def draw(self, own_seed=None):
        """Return the slot of a fresh seed."""
        seed = next_host_seed(own_seed)
        self.ints.append(seed - (1 << 64) if seed >= 1 << 63 else seed)
        return SEEDS - len(self.ints) + 1

    def draw_seed(self, own_seed=None):
        """Return a fresh seed as a tensor."""
        return Tensor(np.asarray(next_host_seed(own_seed), np.uint64))

    # -- recording

    def emit(self, instruction, slots):
        """Append one entry; return the list of its result tensors."""
        start = self.n
        self.n = start + len(instruction.outputs)
        if self.eager:
            return self._emit_eager(instruction, slots, start)
        node = self.node
        following = node.next.get((instruction, slots))
        if following is None:
            following = self._grow(node, instruction, slots, start)
        self.node = following
        results, outputs = [], instruction.outputs
        for q in range(instruction.results):
            results.append(pending(self, start + q, outputs[q]))
        self.outs += results
        if following.depth >= CAP:
            say_once(f"{CAP} operations were recorded before a value was needed (the last at {following.line}), too "
                     "many for one program: these and the next run one at a time. A layer, a model or a tf.function "
                     "counts as one operation; for a long loop use tf.function with tf.range or tf.while_loop.")
            self.go_eager()
        return results

    def _grow(self, node, instruction, slots, start):
        if TRIE.count > MOST_NODES:
            forget_programs()
        TRIE.count += 1
        following = node.next[instruction, slots] = Node(node, (instruction, slots), start, user_line())
        instruction.nodes.add(following)
        return following

    def _emit_eager(self, instruction, slots, start):
        arrays = execute(instruction, [self.fetch(k) for k in slots])
        self.more.append((instruction, slots, start))
        self.values.update(enumerate(arrays, start))
        results = []
        for q in range(instruction.results):
            tensor = Tensor(arrays[q])
            tensor.trace, tensor.slot = self, start + q
            results.append(tensor)
        self.outs += results
        return results

    def ends_here(self):
        """Whether a trace that runs operation by operation can be left: no tape needs it, and it keeps many values."""
        return len(self.more) >= 32 and not self.nested and not self.live_tapes()

    def write(self, variables, start, stores, slots=None):
        """Give variables the versions start, start + 1, ..."""
        self.late.append(dict(zip(variables, range(start, start + len(variables)))) if slots is None else slots)
        self.log.append((variables, start))
        for store in stores:
            self.dirty[store] = True
            store.writer = self

    def settles(self, variables):
        """Run what is recorded if one of these variables is about to be written a second time; return whether it did.

        A loop that assigns without a tape would otherwise grow into one long program.
        """
        if not self.wrote or self.nested:
            return False
        log = self.log if self.ledger is None else self.ledger.log
        written = {id(v) for earlier, _ in log for v in earlier}
        if not any(id(v) in written for v in variables) or self.live_tapes():
            return False
        self.flush()
        return self.closed

    def versions(self, variable):
        """Return every slot the variable has had in this trace, oldest first."""
        current = self.where(variable)
        if current is None:
            return ()
        if not self.log:
            return (current,)
        found = []
        for position, store in enumerate(self.holders):
            if store is variable.store:
                found.append(store.slots_at(-(position + 1))[variable])
        for variables, start in self.log:
            for offset, each in enumerate(variables):
                if each is variable:
                    found.append(start + offset)
        return tuple(found)

    def entries(self):
        """Return all entries recorded so far."""
        return self.node.entries() + list(self.more)

    # -- running

    def live_tapes(self):
        """Return the tapes that may still ask for a gradient through this trace."""
        return [t for t in [reference() for reference in self.tapes] if t is not None and not t.consumed]

    def go_eager(self):
        """Run what is recorded one operation at a time, and go on that way."""
        if self.ledger is not None:
            self.keep_books()
        self.values, self.more, entries = {}, [], self.entries()
        for instruction, slots, start in entries:
            arrays = execute(instruction, [self.fetch(k) for k in slots])
            self.values.update(enumerate(arrays, start))
        self.eager = True
        for tensor in self.outs:
            tensor._value = self.values[tensor.slot]

    def fetch(self, slot):
        """Return the array of a slot while running one operation at a time."""
        value = self.values.get(slot)
        if value is None:
            value = self.values[slot] = self._decode(slot)
        return value

    def _decode(self, slot):
        if slot <= SEEDS:
            return np.asarray(self.ints[SEEDS - slot], np.int64).view(np.uint64)
        if slot <= INTS:
            return np.asarray(self.ints[INTS - slot], np.int32)
        if slot <= FLOATS:
            return np.asarray(self.floats[FLOATS - slot], np.float32)
        leaf, member = (-slot - 1) % MEMBER, (-slot - 1) // MEMBER
        if not member:
            return self.leaves[leaf]
        offset, shape, size = self.holders[leaf].layout[member - 1]
        return np.asarray(self.leaves[leaf])[offset:offset + size].reshape(shape)

    def flush(self, detach=False):
        """Give every live result and every written variable its value.

        The trace closes, unless an unconsumed tape may still differentiate through it; `detach` then leaves it to
        the tape and lets the thread begin a new one.
        """
        with LOCK:
            if self.closed:
                return
            if CONTEXT.trace.inline:
                # a traced function reads a value made outside it: run for real, not into the function's program
                with jax.ensure_compile_time_eval():
                    self.run(detach)
            else:
                self.run(detach)

    def run(self, detach):
        """Flush, for callers who hold the lock and are not inside a traced function."""
        keep, ledger = bool(self.tapes and self.live_tapes()), self.ledger
        dirty = self.dirty if ledger is None else ledger.dirty
        try:
            if self.eager:
                self._commit_eager()
            else:
                alive = [t for t in self.outs if _references(t) > _UNSEEN and t._value is None]
                if alive or dirty or not keep and any(entry[0].effects for entry in self.entries()):
                    self._program(tuple([t.slot for t in alive]), keep, ledger)(self, alive, dirty)
        except BaseException as error:            # nothing was written: variables keep their old values
            error.add_note(self._recorded_at())
            for store in dirty:
                store.writer = None
            self.tapes, keep = (), False
            raise
        finally:
            if not keep:
                self.close()
        if keep:
            self.committed, self.dirty = len(self.log), {}
            if detach:                            # the tape's inputs must outlive the next donation
                for store in self.opened:
                    store.escaped = True
                if CONTEXT.trace is self:
                    CONTEXT.trace = CLOSED

    def _program(self, live, keep, ledger):
        spread = Placement.cluster if Placement.cluster is not None and spans_processes(self.leaves) else None
        node, key = self.node, (live, keep, ledger, len(self.leaves), spread)
        program = None if ledger is None else node.ready.get(key)
        if program is None:
            placement = (placement_of(self.holders) if Placement.used else None) or spread
            # leaves that no entry uses (what a function run at once has read) count too
            full = (live, tuple(self.layouts), keep, self.committed, len(self.leaves), len(self.floats), len(self.ints),
                    placement)
            program, first = node.programs.get(full), False
            if program is None:
                path = self._path()
                single = placement is None and not any(e[0].effects for e in self.entries())

                def make():
                    self._count_program(path, single)
                    node.programs[full] = program = Program(self, live, keep, placement)
                    return program
                if single and full not in node.programs and path.changes():
                    node.programs[full] = None           # met once
                    return partial(path.once, make, live, keep)
                program, first = make(), True
            if ledger is not None:
                node.ready[key] = program
                self.settle(ledger)
            if first:
                return partial(path.first, program)
        return program

    def _recorded_at(self):
        """Say which lines recorded the program that has failed."""
        lines = list(dict.fromkeys(line for line in self.node.lines() if line))
        return f"While running what was recorded at {', '.join(lines[:8])}{' and later' if len(lines) > 8 else ''}."

    def _path(self):
        names = tuple([(e[0].name, line) for e, line in zip(self.node.entries(), self.node.lines())])
        path = TRIE.alike.get(names)
        if path is None:
            path = TRIE.alike[names] = Path()
        return path

    def _count_program(self, path, single):
        """Notice a loop that compiles again and again because its shapes change, and say so once."""
        TRIE.programs += 1
        if TRIE.programs > MOST_PROGRAMS:
            forget_programs()
        if path.compiled == ALIKE - 1 and self.node.depth:
            lines, inputs = self.node.lines(), self.node.entries()[0][0].inputs
            say_once(f"The {len(lines)} operations from {lines[0]} to {lines[-1]} were compiled {ALIKE} times, each "
                     f"time for other shapes or other results that are read (the first operation's inputs are now "
                     f"{', '.join(map(str, inputs))}). " + (
                         "From now on new shapes run one operation at a time where that is faster, and are compiled "
                         "when they come again. " if single else "") + "Pad batches to a few sizes to be fast.")

    def close(self):
        """Forget everything: the values are where they belong."""
        self.outs = self.leaves = self.tensors = self.values = None
        if self.ledger is None:
            self.slots = self.holders = self.log = None
            self.opened = self.late = self.dirty = self.layouts = ()
        self.closed, self.ledger, self.tapes = True, None, ()
        if CONTEXT.trace is self:
            CONTEXT.trace = CLOSED

    def _commit_eager(self):
        for store in self.dirty:
            parts = [self.fetch(self.where(m)) for m in store.members]
            value = parts[0] if store.layout is None else np.concatenate([np.ravel(p) for p in parts])
            store.value = value if store.sharding is None else store.placed(value)
            store.escaped, store.writer = True, None        # the trace's tensors may be the very same array


def execute(instruction, arrays):
    """Run one instruction now; name it in the error of a failure."""
    run = instruction.runner()
    with jax.ensure_compile_time_eval():
        results = run(*arrays)
        if instruction.effects:
            jax.block_until_ready(results)
            jax.effects_barrier()
            raise_failed()
    return check_results(instruction, results)


_references = sys.getrefcount


def _unseen():
    """Measure what getrefcount gives for a result that only its trace holds (it differs between Python versions)."""
    outs = [Tensor(np.zeros((), np.float32))]
    return [_references(t) for t in outs][0]


_UNSEEN = _unseen()


def current():
    """Return this thread's open trace, opening one if needed."""
    trace = CONTEXT.trace
    if trace.closed:
        trace = CONTEXT.trace = Trace()
    return trace
