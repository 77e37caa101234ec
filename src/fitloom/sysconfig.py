# SPDX-License-Identifier: Apache-2.0
"""`tf.sysconfig`. Names only."""

from fitloom.engine.settings import build_info as get_build_info
