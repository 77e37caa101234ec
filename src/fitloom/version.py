# SPDX-License-Identifier: Apache-2.0
"""`tf.version`: which version of the TensorFlow interface is followed. Names only."""

VERSION = "2.21.0"  # of the interface, as fitloom.__version__; the package's own: pip show fitloom
GIT_VERSION = "v2.21.0-fitloom"
COMPILER_VERSION = "XLA"
GRAPH_DEF_VERSION = GRAPH_DEF_VERSION_MIN_CONSUMER = GRAPH_DEF_VERSION_MIN_PRODUCER = 0
