# SPDX-License-Identifier: Apache-2.0
"""Text to lists of numbers as Keras 2 did: `Tokenizer` and its kin. New code uses `TextVectorization`."""
import collections
import hashlib
import json

import numpy as np

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def text_to_word_sequence(input_text, filters=FILTERS, lower=True, split=" "):
    """Return the words of a text: `filters` removed, split at `split`."""
    text = input_text.lower() if lower else input_text
    text = text.translate(str.maketrans(dict.fromkeys(filters, split)))
    return [word for word in text.split(split) if word]


def hashing_trick(text, n, hash_function=None, filters=FILTERS, lower=True, split=" "):
    """Return the words of a text as numbers 1 to n - 1, by a hash; `hash_function` 'md5' is the same in every run."""
    if hash_function is None:
        hash_function = hash
    elif hash_function == "md5":
        def hash_function(word):
            return int(hashlib.md5(word.encode()).hexdigest(), 16)
    return [hash_function(w) % (n - 1) + 1 for w in text_to_word_sequence(text, filters, lower, split)]


def one_hot(input_text, n, filters=FILTERS, lower=True, split=" "):
    """Return the words of a text as numbers 1 to n - 1, by Python's hash (other numbers in every run)."""
    return hashing_trick(input_text, n, hash, filters, lower, split)


class Tokenizer:
    """Number the words of texts by how often they occur: 1 is the most frequent.

    Args:
        num_words: only the `num_words - 1` most frequent words are used in sequences and matrices.
        filters: characters that separate words.
        lower: turn to lower case first.
        split: separator of words.
        char_level: number characters instead of words.
        oov_token: stands, with number 1, for words that are not known.
        analyzer: own function from a text to its words.
    """

    def __init__(self, num_words=None, filters=FILTERS, lower=True, split=" ", char_level=False, oov_token=None,
                 analyzer=None, **kwargs):
        self.document_count = kwargs.pop("document_count", 0)
        if kwargs:
            raise TypeError(f"Unrecognized keyword arguments: {sorted(kwargs)}")
        self.word_counts = collections.OrderedDict()
        self.word_docs, self.index_docs = collections.defaultdict(int), collections.defaultdict(int)
        self.word_index, self.index_word = {}, {}
        self.filters, self.split, self.lower, self.num_words = filters, split, lower, num_words
        self.char_level, self.oov_token, self.analyzer = char_level, oov_token, analyzer

    def _words(self, text):
        if self.char_level or isinstance(text, list):
            if self.lower:
                text = [part.lower() for part in text] if isinstance(text, list) else text.lower()
            return text
        if self.analyzer is not None:
            return self.analyzer(text)
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts):
        """Count the words of texts, and number them anew."""
        for text in texts:
            words = self._words(text)
            self.document_count += 1
            for word in words:
                self.word_counts[word] = self.word_counts.get(word, 0) + 1
            for word in set(words):
                self.word_docs[word] += 1
        ordered = [word for word, _ in sorted(self.word_counts.items(), key=lambda item: -item[1])]
        ordered = ([] if self.oov_token is None else [self.oov_token]) + ordered
        self.word_index = {word: i for i, word in enumerate(ordered, 1)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences):
        """Count in how many sequences of numbers each number occurs (for 'tfidf')."""
        self.document_count += len(sequences)
        for sequence in sequences:
            for i in set(sequence):
                self.index_docs[i] += 1

    def texts_to_sequences(self, texts):
        """Return a list of numbers for each text."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts):
        """Yield a list of numbers for each text."""
        unknown = self.word_index.get(self.oov_token)
        for text in texts:
            numbers = (self.word_index.get(word, unknown) for word in self._words(text))
            known = (unknown if i is not None and self.num_words and i >= self.num_words else i for i in numbers)
            yield [i for i in known if i is not None]

    def sequences_to_texts(self, sequences):
        """Return the words of each list of numbers, joined by blanks."""
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences):
        """Yield the words of each list of numbers, joined by blanks."""
        for sequence in sequences:
            words = [self.index_word.get(i) if not self.num_words or i < self.num_words else None for i in sequence]
            yield " ".join(w or self.oov_token for w in words if w or self.oov_token)

    def texts_to_matrix(self, texts, mode="binary"):
        """Return a matrix with one row a text: 'binary', 'count', 'freq' or 'tfidf'."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences, mode="binary"):
        """Return a matrix with one row a list of numbers: 'binary', 'count', 'freq' or 'tfidf'."""
        if mode not in ("binary", "count", "freq", "tfidf"):
            raise ValueError(f"Unknown vectorization mode: {mode}. Use 'binary', 'count', 'freq' or 'tfidf'.")
        if not self.num_words and not self.word_index:
            raise ValueError("Specify a dimension (`num_words` argument), or fit on some text data first.")
        if mode == "tfidf" and not self.document_count:
            raise ValueError("Fit the Tokenizer on some data before using tfidf mode.")
        width = self.num_words or len(self.word_index) + 1
        matrix = np.zeros((len(sequences), width))
        for row, sequence in zip(matrix, sequences, strict=True):
            counts = collections.Counter(i for i in sequence if i < width)
            for i, count in counts.items():
                row[i] = {"binary": 1, "count": count, "freq": count / len(sequence)}.get(mode) or (
                    (1 + np.log(count)) * np.log(1 + self.document_count / (1 + self.index_docs.get(i, 0))))
        return matrix

    def get_config(self):
        """Return the state as plain data."""
        return {"num_words": self.num_words, "filters": self.filters, "lower": self.lower, "split": self.split,
                "char_level": self.char_level, "oov_token": self.oov_token, "document_count": self.document_count,
                **{name: json.dumps(dict(getattr(self, name))) for name in (
                    "word_counts", "word_docs", "index_docs", "index_word", "word_index")}}

    def to_json(self, **kwargs):
        """Return the state as JSON; `tokenizer_from_json` reads it."""
        return json.dumps({"class_name": type(self).__name__, "config": self.get_config()}, **kwargs)


def tokenizer_from_json(json_string):
    """Return the Tokenizer that `to_json` wrote."""
    config = json.loads(json_string)["config"]
    tables = {name: json.loads(config.pop(name)) for name in (
        "word_counts", "word_docs", "index_docs", "index_word", "word_index")}
    made = Tokenizer(**config)
    made.word_counts = collections.OrderedDict(tables["word_counts"])
    made.word_docs.update(tables["word_docs"])
    made.index_docs.update({int(i): count for i, count in tables["index_docs"].items()})
    made.index_word = {int(i): word for i, word in tables["index_word"].items()}
    made.word_index = tables["word_index"]
    return made


def make_sampling_table(size, sampling_factor=1e-5):
    """Return the probability with which the word of each rank is kept by `skipgrams` (word2vec's subsampling)."""
    gamma = 0.577
    rank = np.arange(size)
    rank[0] = 1
    frequency = sampling_factor * (rank * (np.log(rank) + gamma) + 0.5 - 1 / (12 * rank))
    return np.minimum(1, frequency / np.sqrt(frequency))


def skipgrams(sequence, vocabulary_size, window_size=4, negative_samples=1.0, shuffle=True, categorical=False,
              sampling_table=None, seed=None):
    """Return pairs of a word and one near it (label 1) or a random one (label 0).

    Args:
        sequence: word numbers; 0 is skipped.
        negative_samples: random pairs for each true one.
        categorical: labels [0, 1] and [1, 0] instead of 1 and 0.
        sampling_table: probability with which a word of each number is kept.
    """
    random = np.random.default_rng(seed)
    couples = []
    for i, word in enumerate(sequence):
        if not word or sampling_table is not None and sampling_table[word] < random.random():
            continue
        for j in range(max(0, i - window_size), min(len(sequence), i + window_size + 1)):
            if j != i and sequence[j]:
                couples.append([word, sequence[j]])
    labels = [[0, 1] if categorical else 1] * len(couples)
    count = int(len(couples) * negative_samples)
    if count:
        words = random.permutation([couple[0] for couple in couples])
        couples += [[int(words[i % len(words)]), int(random.integers(1, vocabulary_size))] for i in range(count)]
        labels += [[1, 0] if categorical else 0] * count
    if shuffle:
        order = random.permutation(len(couples))
        couples, labels = [couples[i] for i in order], [labels[i] for i in order]
    return couples, labels
