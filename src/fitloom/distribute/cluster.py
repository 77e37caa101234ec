# SPDX-License-Identifier: Apache-2.0
"""The cluster this process belongs to."""


class _Cluster:
    """Who we are: worker `rank` of `size`."""

    rank, size = 0, 1


CLUSTER = _Cluster()
