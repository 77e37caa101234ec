# SPDX-License-Identifier: Apache-2.0
"""How a run is seen: event files for TensorBoard, profiler traces."""
from fitloom.monitor.event_file import EventFile as EventFile
