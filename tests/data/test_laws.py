# SPDX-License-Identifier: Apache-2.0
"""Laws of pipelines, for random pipelines: against the reference, and resumed at every position."""
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fitloom as tf
from data import reference

Dataset = tf.data.Dataset
QUICK = settings(max_examples=int(os.environ.get("FITLOOM_EXAMPLES", "60")), deadline=None, suppress_health_check=list(HealthCheck))


def numpy(dataset):
    return list(dataset.as_numpy_iterator())


# ---------------------------------------------------------------- random pipelines: (dataset, list of elements or None)

def slices(n):
    rows = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
    return Dataset.from_tensor_slices((rows, np.arange(n))), [(rows[i], np.int64(i)) for i in range(n)]


def numbers(n):
    return Dataset.range(n), [np.int64(i) for i in range(n)]


def generated(n):
    def generator():
        yield from range(n)
    return (Dataset.from_generator(generator, output_signature=tf.TensorSpec((), tf.int64)),
            [np.int64(i) for i in range(n)])


SOURCES = [slices, numbers, generated]


def double(*components):
    return tuple(c * 2 for c in components) if len(components) > 1 else components[0] * 2


def branchy(*components):
    last = components[-1]
    if int(last.numpy() if hasattr(last, "numpy") else last) % 2 == 0:   # needs a value: runs element by element
        return components if len(components) > 1 else components[0]
    return double(*components)


def apply_reference(function, elements):
    return [function(*e) if isinstance(e, tuple) else function(e) for e in elements]


def even(*components):
    return components[-1] % 2 == 0


def step_map(d, e):
    return d.map(double), apply_reference(double, e)


def step_branchy(d, e):
    return d.map(branchy), apply_reference(branchy, e)


def step_parallel(d, e):
    return d.map(branchy, num_parallel_calls=3), apply_reference(branchy, e)


def step_filter(d, e):
    return d.filter(even), [x for x in e if (even(*x) if isinstance(x, tuple) else even(x))]


def step_enumerate(d, e):
    return (d.enumerate().map(lambda i, *x: x[0] if not isinstance(x[0], tuple) else x[0]), e)


STEPS = {
    "map": step_map,
    "branchy": step_branchy,
    "parallel": step_parallel,
    "filter": step_filter,
    "enumerate": step_enumerate,
    "take": lambda d, e: (d.take(7), e[:7]),
    "skip": lambda d, e: (d.skip(2), e[2:]),
    "shard": lambda d, e: (d.shard(3, 1), e[1::3]),
    "repeat": lambda d, e: (d.repeat(2), e * 2),
    "concatenate": lambda d, e: (d.concatenate(d.take(2)), e + e[:2]),
    "batch-unbatch": lambda d, e: (d.batch(3).unbatch(), e),
    "prefetch": lambda d, e: (d.prefetch(2), e),
    "cache": lambda d, e: (d.cache(), e),
    "interleave": lambda d, e: (d.interleave(lambda *x: Dataset.from_tensors(x if len(x) > 1 else x[0]).repeat(3), 2, 2),
                                reference.interleave(e, lambda x: [x] * 3, 2, 2)),
    "flat_map": lambda d, e: (d.flat_map(lambda *x: Dataset.from_tensors(x if len(x) > 1 else x[0]).repeat(2)),
                              [x for x in e for _ in range(2)]),
    "rebatch": lambda d, e: (d.batch(4).rebatch(3).unbatch(), e),
    "ignore_errors": lambda d, e: (d.ignore_errors(), e),
}
RANDOM = {
    "shuffle": lambda d: d.shuffle(4, seed=3),
    "shuffle all": lambda d: d.shuffle(100, seed=5),
    "shuffle unseeded": lambda d: d.shuffle(5),
    "shuffle once": lambda d: d.shuffle(4, seed=3, reshuffle_each_iteration=False).repeat(2),
    "sample": lambda d: Dataset.sample_from_datasets([d, d.take(3)], seed=2),
    "noise": lambda d: d.map(lambda *x: tf.cast(x[-1], tf.float32) + tf.random.uniform(())),
}
pipelines = st.tuples(st.sampled_from(SOURCES), st.integers(0, 11), st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
                      st.sampled_from([None, (1, False), (3, False), (3, True)]))


@QUICK
@given(pipelines)
def test_a_pipeline_gives_what_the_reference_gives(pipeline):
    source, n, steps, batch = pipeline
    dataset, elements = source(n)
    for step in steps:
        dataset, elements = STEPS[step](dataset, elements)
    if batch:
        dataset, elements = dataset.batch(*batch), reference.batch(elements, *batch)
    found = numpy(dataset)
    reference.assert_same(found, elements)
    assert int(dataset.cardinality()) in (len(elements), -2)
    reference.assert_same(numpy(dataset), elements)          # a second pass


@QUICK
@given(pipelines, st.lists(st.sampled_from(sorted(RANDOM) + sorted(STEPS)), min_size=1, max_size=3), st.booleans())
def test_a_pipeline_resumes_at_every_position(pipeline, steps, repeat):
    source, n, before, batch = pipeline

    def build():
        tf.random.set_seed(7)
        dataset, elements = source(n)
        for step in before[:2]:
            dataset, elements = STEPS[step](dataset, elements)
        for step in steps:
            if step in RANDOM:
                dataset = RANDOM[step](dataset)
            elif step not in ("filter", "branchy", "parallel"):
                dataset, _ = STEPS[step](dataset, [])
        if repeat:
            dataset = dataset.repeat(2)
        return dataset.batch(*batch) if batch else dataset

    dataset = build()
    numpy(dataset.take(2))                                   # an earlier iteration, so that counters do not start at 0
    iterator = dataset.as_numpy_iterator()
    states, elements = [iterator.state()], []
    for element in iterator:
        elements.append(element)
        states.append(iterator.state())
    for position in sorted({0, 1, len(elements) // 2, len(elements)} & set(range(len(states)))):
        state = json.loads(json.dumps(states[position]))
        for again in (dataset, build()):                     # the same process's dataset, and another one's
            resumed = again.as_numpy_iterator()
            resumed.restore(state)
            reference.assert_same(list(resumed), elements[position:])


@QUICK
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 5))
def test_shuffle_is_a_permutation(n, buffer, seed):
    dataset = Dataset.range(n).shuffle(buffer, seed=seed)
    first, second = [int(x) for x in dataset], [int(x) for x in dataset]
    assert sorted(first) == sorted(second) == list(range(n))
    for position, value in enumerate(first):                 # an element leaves the buffer only after entering it
        assert value < position + buffer


@QUICK
@given(st.integers(0, 30), st.integers(1, 40), st.integers(0, 3))
def test_shuffle_is_the_same_for_every_kind_of_source(n, buffer, seed):
    by_rows = [int(x) for x in Dataset.range(n).shuffle(buffer, seed=seed)]
    by_elements = [int(x) for x in generated(n)[0].shuffle(buffer, seed=seed)]
    assert by_rows == by_elements


@QUICK
@given(st.integers(0, 20), st.integers(0, 25))
def test_take_and_skip_part_a_dataset(n, count):
    dataset = Dataset.range(n)
    assert numpy(dataset.take(count).concatenate(dataset.skip(count))) == list(range(n))


@QUICK
@given(pipelines, st.integers(1, 7))
def test_unbatch_undoes_batch(pipeline, size):
    source, n, steps, _ = pipeline
    dataset, elements = source(n)
    for step in steps:
        dataset, elements = STEPS[step](dataset, elements)
    reference.assert_same(numpy(dataset.batch(size).unbatch()), elements)


@QUICK
@given(st.sampled_from(SOURCES), st.integers(0, 12), st.sampled_from([None, 2]))
def test_two_maps_are_the_map_of_both(source, n, parallel):
    dataset, _ = source(n)
    apart = dataset.map(double, num_parallel_calls=parallel).map(branchy)

    def both(*components):
        doubled = double(*components)
        return branchy(*doubled) if isinstance(doubled, tuple) else branchy(doubled)

    reference.assert_same(numpy(apart), numpy(dataset.map(both, num_parallel_calls=parallel)))


@QUICK
@given(st.integers(0, 20), st.integers(1, 5))
def test_shards_part_a_dataset(n, shards):
    parts = [numpy(Dataset.range(n).shard(shards, i)) for i in range(shards)]
    assert sorted(x for part in parts for x in part) == list(range(n))


@QUICK
@given(st.integers(0, 16), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_window(n, size, shift, stride, drop):
    found = [[int(x) for x in w] for w in Dataset.range(n).window(size, shift, stride, drop)]
    assert found == reference.window(list(range(n)), size, shift, stride, drop)


@QUICK
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.lists(st.integers(0, 5), max_size=6))
def test_interleave(cycle, block, _, lengths):
    dataset = Dataset.from_tensor_slices(np.array(lengths, np.int64)) if lengths else Dataset.range(0)
    found = numpy(dataset.interleave(lambda n: Dataset.range(n), cycle, block))
    assert found == reference.interleave(lengths, lambda n: range(n), cycle, block)


@pytest.mark.parametrize("buffer", [2, 5, 12])
def test_shuffle_has_the_distribution_of_its_buffer(buffer):
    """Chi-square of (position, value) counts against those of a direct simulation's exact probabilities."""
    n, rounds = 6, 6000
    probability = buffer_probabilities(n, buffer)
    counts = np.zeros((n, n))
    dataset = Dataset.range(n).shuffle(buffer, seed=11).batch(n)
    for batch in dataset.repeat(rounds).as_numpy_iterator():
        counts[np.arange(n), batch] += 1
    possible = probability > 0
    assert not counts[~possible].any()
    expected = probability[possible] * rounds
    statistic = ((counts[possible] - expected) ** 2 / expected).sum()
    freedom = max(1, possible.sum() - 2 * n + 1)
    assert statistic < freedom + 6 * np.sqrt(2 * freedom), (statistic, freedom)


def buffer_probabilities(n, size):
    """Exact probability that the element at `position` is `value`, by enumerating the buffer's content."""
    result = np.zeros((n, n))
    states = {tuple(range(min(size, n))): 1.0}
    for position in range(n):
        following: dict = {}
        for held, weight in states.items():
            for slot, value in enumerate(held):
                share = weight / len(held)
                result[position, value] += share
                rest = held[:slot] + held[slot + 1:]
                entering = position + size
                rest = tuple(sorted((*rest, entering))) if entering < n else rest
                following[rest] = following.get(rest, 0) + share
        states = following
    return result


def test_full_shuffle_is_uniform_over_permutations():
    counts: dict = {}
    for batch in Dataset.range(4).shuffle(4, seed=0).batch(4).repeat(7200).as_numpy_iterator():
        counts[tuple(batch)] = counts.get(tuple(batch), 0) + 1
    assert len(counts) == 24
    statistic = sum((c - 300) ** 2 / 300 for c in counts.values())
    assert statistic < 23 + 6 * np.sqrt(46)


def test_random_functions_differ_per_element_and_per_epoch():
    dataset = Dataset.range(50).map(lambda x: tf.random.uniform(()))
    first, second = numpy(dataset), numpy(dataset)
    assert len(set(first)) == 50 and not set(first) & set(second)
    tf.random.set_seed(3)
    a = numpy(Dataset.range(9).map(lambda x: tf.random.uniform(())).batch(4))
    tf.random.set_seed(3)
    b = numpy(Dataset.range(9).map(lambda x: tf.random.uniform(())).batch(4))
    reference.assert_same(a, b)


def test_sampling_has_its_weights():
    a, b = Dataset.from_tensors(np.int64(0)).repeat(), Dataset.from_tensors(np.int64(1)).repeat()
    drawn = numpy(Dataset.sample_from_datasets([a, b], [0.2, 0.8], seed=1).take(5000))
    assert abs(np.mean(drawn) - 0.8) < 0.03
