# SPDX-License-Identifier: Apache-2.0
"""Decoders of connectionist temporal classification: the best path, and beam search on the host."""

from __future__ import annotations

import itertools

import numpy as np

from fitloom import engine
from fitloom.base.errors import InvalidArgumentError
from fitloom.ops.calling import as_index, host_value, tensor
from fitloom.ops.losses import ctc_best_path
from fitloom.ops.shaping import transpose
from fitloom.ops.sparse import SparseTensor


def _sparse(rows):
    """Return the SparseTensor of lists of labels."""
    width = max((len(r) for r in rows), default=0)
    places = [(i, j) for i, r in enumerate(rows) for j in range(len(r))]
    values = np.asarray([v for r in rows for v in r], np.int64)
    return SparseTensor(np.asarray(places, np.int64).reshape(-1, 2), engine.Tensor(values), (len(rows), width))


def ctc_greedy_decoder(inputs, sequence_length, merge_repeated=True, blank_index=None):
    """Return ([sparse labels], (batch, 1) negative sum of the best logits): the most likely class at each time.

    Args:
        inputs: logits, (time, batch, classes); the blank is the last class if `blank_index` is None.
    """
    inputs = tensor(inputs)
    classes = inputs.shape[-1]
    blank = classes - 1 if blank_index is None else blank_index % classes
    labels, score = ctc_best_path(transpose(inputs, [1, 0, 2]), as_index(sequence_length), blank=blank,
                                  merge=bool(merge_repeated))
    rows = [[int(v) for v in row if v >= 0] for row in host_value(labels, "ctc_greedy_decoder's result")]
    return [_sparse(rows)], score


def _beam_search(log_probability, blank, width, top):
    """Return the `top` best (labels, log probability) of one example; (time, classes) log probabilities.

    Prefix search: for each prefix the probability of ending in a blank and of ending in its last label.
    """
    beams = {(): (0.0, -np.inf)}
    for row in log_probability:
        following: dict = {}

        def add(prefix, into_blank, value, following=following):
            a, b = following.get(prefix, (-np.inf, -np.inf))
            following[prefix] = (np.logaddexp(a, value), b) if into_blank else (a, np.logaddexp(b, value))

        for prefix, (in_blank, in_label) in beams.items():
            both = np.logaddexp(in_blank, in_label)
            add(prefix, True, both + row[blank])
            if prefix:
                add(prefix, False, in_label + row[prefix[-1]])
            for c in np.argsort(-row)[:width + 1]:
                if c != blank:
                    start = in_blank if prefix and prefix[-1] == c else both
                    add((*prefix, int(c)), False, start + row[c])
        best = sorted(following.items(), key=lambda item: -np.logaddexp(*item[1]))[:width]
        beams = dict(best)
    ranked = sorted(((p, np.logaddexp(*v)) for p, v in beams.items()), key=lambda item: -item[1])
    return ranked[:top]


def ctc_beam_search_decoder(inputs, sequence_length, beam_width=100, top_paths=1, merge_repeated=False):
    """Return ([sparse labels of each path], (batch, top_paths) log probabilities); runs on the host.

    Args:
        inputs: logits, (time, batch, classes); the blank is the last class.
        merge_repeated: give equal neighbours of a path once (the default of TensorFlow 1).
    """
    rows, scores = ctc_beams(np.moveaxis(host_value(inputs, "ctc_beam_search_decoder's input"), 1, 0),
                             host_value(sequence_length), beam_width, top_paths, None)
    if merge_repeated:
        rows = [[[label for label, _ in itertools.groupby(path)] for path in paths] for paths in rows]
    return [_sparse([r[k] for r in rows]) for k in range(top_paths)], engine.Tensor(scores)


def ctc_beams(logits, lengths, width, top, blank):
    """Return (for each example the label lists of its `top` paths, log probabilities (batch, top)), from NumPy."""
    logits = logits.astype(np.float64)
    logits = logits - np.logaddexp.reduce(logits, -1, keepdims=True)
    blank = logits.shape[-1] - 1 if blank is None else blank
    rows, scores = [], np.full((len(logits), top), -np.inf, np.float32)
    for i, (example, length) in enumerate(zip(logits, np.ravel(lengths), strict=True)):
        found = _beam_search(example[:int(length)], blank, int(width), top)
        rows.append([list(p) for p, _ in found] + [[]] * (top - len(found)))
        scores[i, :len(found)] = [s for _, s in found]
    return rows, scores


def edit_distance(hypothesis, truth, normalize=True, name="edit_distance"):
    """Return the Levenshtein distance of each pair of sparse sequences, over the truth's length if `normalize`."""
    def rows(sparse):
        shape = tuple(sparse.shape)[:-1]
        made = {}
        for place, value in zip(np.asarray(sparse.indices), np.asarray(sparse.values), strict=True):
            made.setdefault(tuple(place[:-1]), []).append(value)
        return shape, made
    (shape, ours), (other, theirs) = rows(hypothesis), rows(truth)
    if len(shape) != len(other):
        raise InvalidArgumentError(f"edit_distance expected sequences of as many axes in both, but received shapes "
                                   f"{tuple(hypothesis.shape)} and {tuple(truth.shape)}.")
    shape = tuple(map(max, shape, other))
    out = np.zeros(shape, np.float32)
    for place in np.ndindex(*shape):
        a, b = ours.get(place, []), theirs.get(place, [])
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            before, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
        distance = row[-1]
        if normalize:
            distance = distance / len(b) if b else (np.inf if distance else 0.0)
        out[place] = distance
    return engine.Tensor(out)
