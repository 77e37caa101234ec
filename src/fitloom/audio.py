# SPDX-License-Identifier: Apache-2.0
"""`tf.audio`: WAV files. Names only."""

from fitloom.data.sound import decode_wav as decode_wav, encode_wav as encode_wav
