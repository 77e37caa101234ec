# SPDX-License-Identifier: Apache-2.0
"""`tf.io`: files, records and encoded data. Names only."""

from fitloom.data import gfile as gfile
from fitloom.data.encoding import (
    decode_base64 as decode_base64,
    decode_compressed as decode_compressed,
    deserialize_many_sparse as deserialize_many_sparse,
    encode_base64 as encode_base64,
    serialize_many_sparse as serialize_many_sparse,
    serialize_sparse as serialize_sparse,
)
from fitloom.data.files import (
    matching_files as matching_files,
)
from fitloom.data.files import (
    read_file as read_file,
)
from fitloom.data.files import (
    write_file as write_file,
)
from fitloom.data.images import (
    decode_bmp as decode_bmp,
)
from fitloom.data.images import (
    decode_gif as decode_gif,
)
from fitloom.data.images import (
    decode_image as decode_image,
)
from fitloom.data.images import (
    decode_and_crop_jpeg as decode_and_crop_jpeg,
    decode_jpeg as decode_jpeg,
)
from fitloom.data.images import (
    decode_png as decode_png,
)
from fitloom.data.images import (
    encode_jpeg as encode_jpeg,
)
from fitloom.data.images import (
    encode_png as encode_png,
)
from fitloom.data.images import (
    extract_jpeg_shape as extract_jpeg_shape,
)
from fitloom.data.images import (
    is_jpeg as is_jpeg,
)
from fitloom.data.parsing import (
    FixedLenFeature as FixedLenFeature,
)
from fitloom.data.parsing import (
    FixedLenSequenceFeature as FixedLenSequenceFeature,
)
from fitloom.data.parsing import (
    RaggedFeature as RaggedFeature,
    SparseFeature as SparseFeature,
    parse_sequence_example as parse_sequence_example,
)
from fitloom.data.parsing import (
    VarLenFeature as VarLenFeature,
)
from fitloom.data.parsing import (
    decode_raw as decode_raw,
)
from fitloom.data.parsing import (
    parse_example as parse_example,
)
from fitloom.data.parsing import (
    parse_single_example as parse_single_example,
)
from fitloom.data.parsing import (
    parse_single_sequence_example as parse_single_sequence_example,
)
from fitloom.data.parsing import (
    parse_tensor as parse_tensor,
)
from fitloom.data.parsing import (
    serialize_tensor as serialize_tensor,
)
from fitloom.data.records import TFRecordOptions as TFRecordOptions
from fitloom.data.records import TFRecordWriter as TFRecordWriter
from fitloom.data.tables import decode_csv as decode_csv
