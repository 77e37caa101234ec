# SPDX-License-Identifier: Apache-2.0
"""Reuters: newswires as lists of word numbers, in 46 topics."""

import json

from fitloom.datasets.boston_housing import check_test_split
from fitloom.datasets.download import fetch
from fitloom.datasets.imdb import limited, numbered, shuffled
from fitloom.datasets.stored import read_npz

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
SHA256 = "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"
WORD_INDEX_MD5 = "4d44cc38712099c9e383dc6e5f11a921"

# The topics of Reuters-21578 in the order of the labels.
LABEL_NAMES = tuple(
    """
    cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves ship cotton carcass crude
    nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin strategic-metal livestock retail ipi iron-steel
    rubber heat jobs lei bop zinc orange pet-chem dlr gas silver wpi hog lead
    """.split()
)


def load_data(
    path="reuters.npz",
    num_words=None,
    skip_top=0,
    maxlen=None,
    test_split=0.2,
    seed=113,
    start_char=1,
    oov_char=2,
    index_from=3,
):
    """Load Reuters: 11,228 newswires of 1987, labelled with one of 46 topics.

    A newswire is a list of word numbers. Words are numbered by how often they occur, 1 being the most frequent, and
    `index_from` is added; 0 is left for padding.

    Args:
        path: name of the file in the cache (`~/.keras/datasets`), or the path of a file of yours.
        num_words: numbers from here on are replaced by `oov_char`; None: all are kept.
        skip_top: numbers below this are replaced by `oov_char`.
        maxlen: keep the newswires that are shorter than this; None: all.
        test_split: share of the newswires in the test part, at least 0 and less than 1.
        seed: of the shuffle before the split.
        start_char: number put before each newswire; None: nothing.
        oov_char: number for left-out words; None: they are dropped.
        index_from: added to every word's number.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: object arrays of lists; labels, int64.
    """
    check_test_split(test_split)
    stored = read_npz(fetch(path, ORIGIN + "reuters.npz", SHA256))
    sequences, labels = shuffled(stored["x"], stored["y"], seed)
    sequences, labels = numbered(sequences, labels, start_char, index_from, maxlen)
    sequences = limited(sequences, num_words, skip_top, oov_char)
    cut = int(len(sequences) * (1 - test_split))
    return (sequences[:cut], labels[:cut]), (sequences[cut:], labels[cut:])


def get_word_index(path="reuters_word_index.json"):
    """Load the dict from words to their numbers, `index_from` not added.

    Args:
        path: name of the file in the cache (`~/.keras/datasets`), or the path of a file of yours.
    """
    with open(fetch(path, ORIGIN + "reuters_word_index.json", WORD_INDEX_MD5), encoding="utf-8") as file:
        return json.load(file)


def get_label_names():
    """Return the names of the 46 topics, in the order of the labels."""
    return LABEL_NAMES
