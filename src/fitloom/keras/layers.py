# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.layers`."""
from fitloom.base.serialization import deserialize_keras_object as deserialize
from fitloom.base.serialization import serialize_keras_object as serialize
from fitloom.layers import (
    ELU as ELU,
)
from fitloom.layers import (
    GRU as GRU,
)
from fitloom.layers import (
    LSTM as LSTM,
)
from fitloom.layers import (
    RNN as RNN,
)
from fitloom.layers import (
    Activation as Activation,
)
from fitloom.layers import (
    ActivityRegularization as ActivityRegularization,
)
from fitloom.layers import (
    AdaptiveAveragePooling1D as AdaptiveAveragePooling1D,
)
from fitloom.layers import (
    AdaptiveAveragePooling2D as AdaptiveAveragePooling2D,
)
from fitloom.layers import (
    AdaptiveAveragePooling3D as AdaptiveAveragePooling3D,
)
from fitloom.layers import (
    AdaptiveMaxPooling1D as AdaptiveMaxPooling1D,
)
from fitloom.layers import (
    AdaptiveMaxPooling2D as AdaptiveMaxPooling2D,
)
from fitloom.layers import (
    AdaptiveMaxPooling3D as AdaptiveMaxPooling3D,
)
from fitloom.layers import (
    Add as Add,
)
from fitloom.layers import (
    AdditiveAttention as AdditiveAttention,
)
from fitloom.layers import (
    AlphaDropout as AlphaDropout,
)
from fitloom.layers import (
    Attention as Attention,
)
from fitloom.layers import (
    Average as Average,
)
from fitloom.layers import (
    AveragePooling1D as AveragePooling1D,
)
from fitloom.layers import (
    AveragePooling2D as AveragePooling2D,
)
from fitloom.layers import (
    AveragePooling3D as AveragePooling3D,
)
from fitloom.layers import (
    AvgPool1D as AvgPool1D,
)
from fitloom.layers import (
    AvgPool2D as AvgPool2D,
)
from fitloom.layers import (
    AvgPool3D as AvgPool3D,
)
from fitloom.layers import (
    BatchNormalization as BatchNormalization,
)
from fitloom.layers import (
    Bidirectional as Bidirectional,
)
from fitloom.layers import (
    Concatenate as Concatenate,
)
from fitloom.layers import (
    Conv1D as Conv1D,
)
from fitloom.layers import (
    Conv1DTranspose as Conv1DTranspose,
)
from fitloom.layers import (
    Conv2D as Conv2D,
)
from fitloom.layers import (
    Conv2DTranspose as Conv2DTranspose,
)
from fitloom.layers import (
    Conv3D as Conv3D,
)
from fitloom.layers import (
    Conv3DTranspose as Conv3DTranspose,
)
from fitloom.layers import (
    ConvLSTM1D as ConvLSTM1D,
)
from fitloom.layers import (
    ConvLSTM2D as ConvLSTM2D,
)
from fitloom.layers import (
    ConvLSTM3D as ConvLSTM3D,
)
from fitloom.layers import (
    Convolution1D as Convolution1D,
)
from fitloom.layers import (
    Convolution1DTranspose as Convolution1DTranspose,
)
from fitloom.layers import (
    Convolution2D as Convolution2D,
)
from fitloom.layers import (
    Convolution2DTranspose as Convolution2DTranspose,
)
from fitloom.layers import (
    Convolution3D as Convolution3D,
)
from fitloom.layers import (
    Convolution3DTranspose as Convolution3DTranspose,
)
from fitloom.layers import (
    Cropping1D as Cropping1D,
)
from fitloom.layers import (
    Cropping2D as Cropping2D,
)
from fitloom.layers import (
    Cropping3D as Cropping3D,
)
from fitloom.layers import (
    Dense as Dense,
)
from fitloom.layers import (
    DepthwiseConv1D as DepthwiseConv1D,
)
from fitloom.layers import (
    DepthwiseConv2D as DepthwiseConv2D,
)
from fitloom.layers import (
    Dot as Dot,
)
from fitloom.layers import (
    Dropout as Dropout,
)
from fitloom.layers import (
    EinsumDense as EinsumDense,
)
from fitloom.layers import (
    Embedding as Embedding,
)
from fitloom.layers import (
    Flatten as Flatten,
)
from fitloom.layers import (
    GaussianDropout as GaussianDropout,
)
from fitloom.layers import (
    GaussianNoise as GaussianNoise,
)
from fitloom.layers import (
    GlobalAveragePooling1D as GlobalAveragePooling1D,
)
from fitloom.layers import (
    GlobalAveragePooling2D as GlobalAveragePooling2D,
)
from fitloom.layers import (
    GlobalAveragePooling3D as GlobalAveragePooling3D,
)
from fitloom.layers import (
    GlobalAvgPool1D as GlobalAvgPool1D,
)
from fitloom.layers import (
    GlobalAvgPool2D as GlobalAvgPool2D,
)
from fitloom.layers import (
    GlobalAvgPool3D as GlobalAvgPool3D,
)
from fitloom.layers import (
    GlobalMaxPool1D as GlobalMaxPool1D,
)
from fitloom.layers import (
    GlobalMaxPool2D as GlobalMaxPool2D,
)
from fitloom.layers import (
    GlobalMaxPool3D as GlobalMaxPool3D,
)
from fitloom.layers import (
    GlobalMaxPooling1D as GlobalMaxPooling1D,
)
from fitloom.layers import (
    GlobalMaxPooling2D as GlobalMaxPooling2D,
)
from fitloom.layers import (
    GlobalMaxPooling3D as GlobalMaxPooling3D,
)
from fitloom.layers import (
    GroupedQueryAttention as GroupedQueryAttention,
)
from fitloom.layers import (
    GroupNormalization as GroupNormalization,
)
from fitloom.layers import (
    GroupQueryAttention as GroupQueryAttention,
)
from fitloom.layers import (
    GRUCell as GRUCell,
)
from fitloom.layers import (
    Identity as Identity,
)
from fitloom.layers import (
    Input as Input,
)
from fitloom.layers import (
    InputLayer as InputLayer,
)
from fitloom.layers import (
    InputSpec as InputSpec,
)
from fitloom.layers import (
    Lambda as Lambda,
)
from fitloom.layers import (
    Layer as Layer,
)
from fitloom.layers import (
    LayerNormalization as LayerNormalization,
)
from fitloom.layers import (
    LeakyReLU as LeakyReLU,
)
from fitloom.layers import (
    LSTMCell as LSTMCell,
)
from fitloom.layers import (
    Masking as Masking,
)
from fitloom.layers import (
    Maximum as Maximum,
)
from fitloom.layers import (
    MaxPool1D as MaxPool1D,
)
from fitloom.layers import (
    MaxPool2D as MaxPool2D,
)
from fitloom.layers import (
    MaxPool3D as MaxPool3D,
)
from fitloom.layers import (
    MaxPooling1D as MaxPooling1D,
)
from fitloom.layers import (
    MaxPooling2D as MaxPooling2D,
)
from fitloom.layers import (
    MaxPooling3D as MaxPooling3D,
)
from fitloom.layers import (
    Merge as Merge,
)
from fitloom.layers import (
    Minimum as Minimum,
)
from fitloom.layers import (
    MultiHeadAttention as MultiHeadAttention,
)
from fitloom.layers import (
    Multiply as Multiply,
)
from fitloom.layers import (
    Normalization as Normalization,
)
from fitloom.layers import (
    Permute as Permute,
)
from fitloom.layers import (
    PReLU as PReLU,
)
from fitloom.layers import (
    ReLU as ReLU,
)
from fitloom.layers import (
    RepeatVector as RepeatVector,
)
from fitloom.layers import (
    Rescaling as Rescaling,
)
from fitloom.layers import (
    Reshape as Reshape,
)
from fitloom.layers import (
    ReversibleEmbedding as ReversibleEmbedding,
)
from fitloom.layers import (
    RMSNormalization as RMSNormalization,
)
from fitloom.layers import (
    SeparableConv1D as SeparableConv1D,
)
from fitloom.layers import (
    SeparableConv2D as SeparableConv2D,
)
from fitloom.layers import (
    SeparableConvolution1D as SeparableConvolution1D,
)
from fitloom.layers import (
    SeparableConvolution2D as SeparableConvolution2D,
)
from fitloom.layers import (
    SimpleRNN as SimpleRNN,
)
from fitloom.layers import (
    SimpleRNNCell as SimpleRNNCell,
)
from fitloom.layers import (
    Softmax as Softmax,
)
from fitloom.layers import (
    SpatialDropout1D as SpatialDropout1D,
)
from fitloom.layers import (
    SpatialDropout2D as SpatialDropout2D,
)
from fitloom.layers import (
    SpatialDropout3D as SpatialDropout3D,
)
from fitloom.layers import (
    SpectralNormalization as SpectralNormalization,
)
from fitloom.layers import (
    StackedRNNCells as StackedRNNCells,
)
from fitloom.layers import (
    Subtract as Subtract,
)
from fitloom.layers import (
    TimeDistributed as TimeDistributed,
)
from fitloom.layers import (
    UnitNormalization as UnitNormalization,
)
from fitloom.layers import (
    UpSampling1D as UpSampling1D,
)
from fitloom.layers import (
    UpSampling2D as UpSampling2D,
)
from fitloom.layers import (
    UpSampling3D as UpSampling3D,
)
from fitloom.layers import (
    Wrapper as Wrapper,
)
from fitloom.layers import (
    ZeroPadding1D as ZeroPadding1D,
)
from fitloom.layers import (
    ZeroPadding2D as ZeroPadding2D,
)
from fitloom.layers import (
    ZeroPadding3D as ZeroPadding3D,
)
from fitloom.layers import (
    add as add,
)
from fitloom.layers import (
    average as average,
)
from fitloom.layers import (
    concatenate as concatenate,
)
from fitloom.layers import (
    dot as dot,
)
from fitloom.layers import (
    maximum as maximum,
)
from fitloom.layers import (
    minimum as minimum,
)
from fitloom.layers import (
    multiply as multiply,
)
from fitloom.layers import (
    subtract as subtract,
)
