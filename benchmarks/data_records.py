# SPDX-License-Identifier: Apache-2.0
"""How fast are TFRecord files parsed? 5,000 examples of 20 floats and a label, parse_single_example, batch(128)."""

import os
import tempfile

import numpy as np

import harness
import pipelines

ROWS = 5_000


def build(tf):
    path = os.path.join(tempfile.gettempdir(), "fitloom-benchmark.tfrecord")
    if not os.path.exists(path):
        rng, train = np.random.default_rng(0), tf.train
        with tf.io.TFRecordWriter(path + ".tmp") as writer:
            for i in range(ROWS):
                feature = {
                    "x": train.Feature(float_list=train.FloatList(value=rng.random(20))),
                    "y": train.Feature(int64_list=train.Int64List(value=[i % 10])),
                }
                writer.write(train.Example(features=train.Features(feature=feature)).SerializeToString())
        os.replace(path + ".tmp", path)
    features = {"x": tf.io.FixedLenFeature([20], tf.float32), "y": tf.io.FixedLenFeature([], tf.int64)}

    def parse(record):
        example = tf.io.parse_single_example(record, features)
        return example["x"] * 2.0 - 1.0, tf.cast(example["y"], tf.int32)

    return tf.data.TFRecordDataset(path).map(parse, num_parallel_calls=tf.data.AUTOTUNE).batch(128)


WORKLOAD = pipelines.workload("data_records", __doc__, ROWS, build)

if __name__ == "__main__":
    harness.main(WORKLOAD, __file__)
