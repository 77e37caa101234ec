# SPDX-License-Identifier: Apache-2.0
"""What listens to the training loop."""
from fitloom.callbacks.callback import Callback as Callback, CallbackList as CallbackList
from fitloom.callbacks.history import History as History
from fitloom.callbacks.progress import Progbar as Progbar, ProgbarLogger as ProgbarLogger
