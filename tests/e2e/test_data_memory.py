# SPDX-License-Identifier: Apache-2.0
"""A pipeline over a file that is larger than memory should be: 4 GB with FITLOOM_BIG_MB=4096, 256 MB in CI."""
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

MEGABYTES = int(os.environ.get("FITLOOM_BIG_MB", "256"))
LIMIT_MB = 500
ROW = 4096                               # floats of a row: 16 KB

PIPELINES = {
    "records": """
        dataset = tf.data.FixedLengthRecordDataset(path, {bytes}).map(
            lambda record: tf.io.decode_raw(record, tf.float32), num_parallel_calls=tf.data.AUTOTUNE)
    """,
    "mapped memory": """
        rows = np.memmap(path, np.float32, "r").reshape(-1, {row})
        dataset = tf.data.Dataset.from_tensor_slices(rows).map(lambda row: row * 2.0)
    """,
}
SCRIPT = """
    import os, resource, sys
    import numpy as np
    import fitloom as tf
    path = sys.argv[1]
    {make}
    dataset = dataset.shuffle(500).batch(64).prefetch(tf.data.AUTOTUNE)
    count = sum(len(batch) for batch in dataset.as_numpy_iterator())
    anonymous = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(("RssAnon", "VmHWM"))]
    print(count, *[kilobytes // 1024 for kilobytes in anonymous])
"""


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_memory_is_bounded(name, tmp_path):
    path = tmp_path / "big"
    with open(path, "wb") as file:
        file.truncate(MEGABYTES << 20)   # a hole: it reads as zeros, and takes no place on the disk
    make = textwrap.indent(textwrap.dedent(PIPELINES[name].format(bytes=4 * ROW, row=ROW)), " " * 4)
    script = textwrap.dedent(SCRIPT).replace("{make}", textwrap.dedent(make).strip())
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=pathlib.Path(__file__).parents[2],
                          capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    count, most_mb, anonymous_mb = map(int, done.stdout.split()[-3:])
    assert count == (MEGABYTES << 20) // (4 * ROW)
    # pages of a mapped file belong to the system, which takes them back: they are counted in the first number only
    assert (anonymous_mb if name == "mapped memory" else most_mb) < LIMIT_MB
