# SPDX-License-Identifier: Apache-2.0
"""`rejection_resample`: classes brought to a wanted distribution by leaving elements out."""
import numpy as np

from fitloom.data import structure
from fitloom.data.batching import Replayed
from fitloom.data.order import generator
from fitloom.data.plan import UNKNOWN, Node
from fitloom.data.structure import TensorSpec
from fitloom.data.transforms import Map


class Resample(Node):
    """(class, element) pairs, accepted with a probability that depends on the class."""

    name = "rejection_resample"

    def __init__(self, source, function, target, initial, seed):
        super().__init__(source)
        self.function, self.seed = function, seed
        self.target = structure.to_numpy(target).astype(float)
        self.initial = None if initial is None else structure.to_numpy(initial).astype(float)
        if self.initial is not None and self.initial.shape != self.target.shape:
            raise ValueError(f"Dataset.rejection_resample needs target_dist and initial_dist of one length, but "
                             f"received {self.target.shape} and {self.initial.shape}.")

    def element_spec(self, peek=True):
        spec = self.inputs[0].element_spec(peek)
        if spec is None or not peek:
            return None
        labels = Map(self.inputs[0], self.function).element_spec()
        return TensorSpec((), "int32" if labels is None else labels.dtype), spec

    def like(self):
        return (0, self.inputs[0].like())

    def cardinality(self):
        return UNKNOWN

    def flow(self, run):
        return ResampleFlow(self, run)


class ResampleFlow(Replayed):
    """Accepts class i with probability (target_i / initial_i) / max of that ratio."""

    def generate(self):
        node = self.node
        random = generator(node.seed, self.run.key(node))
        counts = np.ones(len(node.target))
        for number, element in enumerate(self.incoming()):
            if node.function.pack is None:
                node.function.nests(node.inputs[0].like())
            found = node.function.element(element, number)[0]
            label = int(found)
            counts[label] += 1
            initial = node.initial if node.initial is not None else counts / counts.sum()
            ratio = node.target / np.maximum(initial, 1e-12)
            if random.random() * ratio.max() < ratio[label]:
                yield (found, *element)
