# SPDX-License-Identifier: Apache-2.0
"""`tf.train.Example` and its parts: protocol buffer messages with TensorFlow's names and field numbers."""
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_INT64, _FLOAT, _BYTES, _STRING, _MESSAGE = 3, 2, 12, 9, 11


def _build():
    file = descriptor_pb2.FileDescriptorProto(name="fitloom/example.proto", package="tensorflow", syntax="proto3")

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, (field, kind, repeated, of) in enumerate(fields, 1):
            added = made.field.add(name=field, number=number, type=kind, label=3 if repeated else 1)
            if of:
                added.type_name = f".tensorflow.{of}"
            if kind in (_INT64, _FLOAT):
                added.options.packed = True
        return made

    def mapping(name, field, of):
        made = message(name)
        entry = made.nested_type.add(name=f"{field.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_STRING, label=1)
        entry.field.add(name="value", number=2, type=_MESSAGE, label=1, type_name=f".tensorflow.{of}")
        made.field.add(name=field, number=1, type=_MESSAGE, label=3,
                       type_name=f".tensorflow.{name}.{entry.name}")

    message("BytesList", ("value", _BYTES, True, None))
    message("FloatList", ("value", _FLOAT, True, None))
    message("Int64List", ("value", _INT64, True, None))
    feature = message("Feature", ("bytes_list", _MESSAGE, False, "BytesList"),
                      ("float_list", _MESSAGE, False, "FloatList"), ("int64_list", _MESSAGE, False, "Int64List"))
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    mapping("Features", "feature", "Feature")
    message("FeatureList", ("feature", _MESSAGE, True, "Feature"))
    mapping("FeatureLists", "feature_list", "FeatureList")
    message("Example", ("features", _MESSAGE, False, "Features"))
    message("SequenceExample", ("context", _MESSAGE, False, "Features"),
            ("feature_lists", _MESSAGE, False, "FeatureLists"))
    # A pool of its own: another library's copy of the same messages in the default pool does not disturb.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.{name}"))
            for name in ("BytesList", "FloatList", "Int64List", "Feature", "Features", "FeatureList", "FeatureLists",
                         "Example", "SequenceExample")}


_MESSAGES = _build()
BytesList, FloatList, Int64List = _MESSAGES["BytesList"], _MESSAGES["FloatList"], _MESSAGES["Int64List"]
Feature, Features = _MESSAGES["Feature"], _MESSAGES["Features"]
FeatureList, FeatureLists = _MESSAGES["FeatureList"], _MESSAGES["FeatureLists"]
Example, SequenceExample = _MESSAGES["Example"], _MESSAGES["SequenceExample"]
