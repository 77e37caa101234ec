# SPDX-License-Identifier: Apache-2.0
"""Twins of a data pipeline: ours, tf.data, and where it is given a PyTorch DataLoader; elements a second, no model."""

import harness


def exhaust(batches):
    """Go through one epoch, touching every batch."""
    count = 0
    for _ in batches:
        count += 1
    return count


def workload(name, question, elements, build, loader=None, peer="tf_data"):
    """A workload that runs `build(tf)`, an iterable of batches with `elements` elements in all, again and again.

    `loader(torch)` gives a PyTorch DataLoader over the same data.
    """

    def measured(batches):
        return harness.examples_per_second(lambda epochs: [exhaust(batches) for _ in range(epochs)], elements)

    def ours():
        import fitloom as tf

        return measured(build(tf))

    def theirs():
        import tensorflow as tf

        return measured(build(tf))

    def torch_loader():
        import torch

        return measured(loader(torch))

    twins = {harness.OURS: ours, peer: theirs}
    if loader is not None:
        twins["torch_loader"] = torch_loader
    return harness.Workload(name, question, "examples/s", twins, baseline=peer)
