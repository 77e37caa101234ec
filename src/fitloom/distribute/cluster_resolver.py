# SPDX-License-Identifier: Apache-2.0
"""`tf.distribute.cluster_resolver`: who is in the cluster, and which of them is this process."""


class ClusterResolver:
    """Base of the resolvers: they tell the cluster and this process's place in it."""
