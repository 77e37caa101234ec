# SPDX-License-Identifier: Apache-2.0
"""IMDB: film reviews as lists of word numbers; and the treatment of such lists that Reuters shares."""

import json

import numpy as np

from fitloom.datasets.download import fetch
from fitloom.datasets.stored import read_npz

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
SHA256 = "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
WORD_INDEX_MD5 = "bfafd718b763782e994055a2d397834f"


def load_data(
    path="imdb.npz",
    num_words=None,
    skip_top=0,
    maxlen=None,
    seed=113,
    start_char=1,
    oov_char=2,
    index_from=3,
):
    """Load IMDB: 50,000 film reviews, labelled 1 (positive) or 0 (A. Maas et al., 2011).

    A review is a list of word numbers. Words are numbered by how often they occur, 1 being the most frequent, and
    `index_from` is added; 0 is left for padding.

    Args:
        path: name of the file in the cache (`~/.keras/datasets`), or the path of a file of yours.
        num_words: numbers from here on are replaced by `oov_char`; None: all are kept.
        skip_top: numbers below this are replaced by `oov_char`.
        maxlen: keep the reviews that are shorter than this; None: all.
        seed: of the shuffle, of each part.
        start_char: number put before each review; None: nothing.
        oov_char: number for left-out words; None: they are dropped.
        index_from: added to every word's number.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: object arrays of 25,000 lists each; labels, int64 of shape `(25000,)`.
    """
    stored = read_npz(fetch(path, ORIGIN + "imdb.npz", SHA256))
    parts = []
    for part in ("train", "test"):
        sequences, labels = shuffled(stored[f"x_{part}"], stored[f"y_{part}"], seed)
        sequences, labels = numbered(sequences, labels, start_char, index_from, maxlen)
        parts.append((limited(sequences, num_words, skip_top, oov_char), labels))
    train, test = parts
    return train, test


def get_word_index(path="imdb_word_index.json"):
    """Load the dict from words to their numbers, `index_from` not added.

    Args:
        path: name of the file in the cache (`~/.keras/datasets`), or the path of a file of yours.
    """
    with open(fetch(path, ORIGIN + "imdb_word_index.json", WORD_INDEX_MD5), encoding="utf-8") as file:
        return json.load(file)


def shuffled(sequences, labels, seed):
    """Shuffle both in the same order."""
    order = np.arange(len(sequences))
    np.random.RandomState(seed).shuffle(order)
    return sequences[order], labels[order]


def numbered(sequences, labels, start_char, index_from, maxlen):
    """Add `index_from` to every number, put `start_char` in front, keep what is shorter than `maxlen`."""
    start = [] if start_char is None else [start_char]
    shift = index_from or 0
    rows = [start + [word + shift for word in sequence] for sequence in sequences]
    if maxlen:
        kept = [row for row, sequence in enumerate(rows) if len(sequence) < maxlen]
        if not kept:
            shortest = min(map(len, rows))
            raise ValueError(f"No sequence is shorter than maxlen={maxlen}; the shortest has {shortest} numbers.")
        rows, labels = [rows[row] for row in kept], labels[kept]
    return rows, labels


def limited(sequences, num_words, skip_top, oov_char):
    """Replace (or drop, if `oov_char` is None) numbers outside skip_top <= number < num_words."""
    most = num_words or float("inf")
    result = np.empty(len(sequences), dtype=object)
    for row, sequence in enumerate(sequences):
        if oov_char is None:
            result[row] = [word for word in sequence if skip_top <= word < most]
        else:
            result[row] = [word if skip_top <= word < most else oov_char for word in sequence]
    return result
