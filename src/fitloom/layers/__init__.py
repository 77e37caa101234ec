# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.layers`: what a model computes."""
from fitloom.layers.activation_layers import (
    Activation as Activation,
    ELU as ELU,
    LeakyReLU as LeakyReLU,
    PReLU as PReLU,
    ReLU as ReLU,
    Softmax as Softmax,
    ThresholdedReLU as ThresholdedReLU,
)
from fitloom.layers.attention import (
    AdditiveAttention as AdditiveAttention,
    Attention as Attention,
    GroupedQueryAttention as GroupedQueryAttention,
    GroupQueryAttention as GroupQueryAttention,
    MultiHeadAttention as MultiHeadAttention,
)
from fitloom.layers.convolution import (
    Conv1D as Conv1D,
    Conv1DTranspose as Conv1DTranspose,
    Conv2D as Conv2D,
    Conv2DTranspose as Conv2DTranspose,
    Conv3D as Conv3D,
    Conv3DTranspose as Conv3DTranspose,
    Convolution1D as Convolution1D,
    Convolution1DTranspose as Convolution1DTranspose,
    Convolution2D as Convolution2D,
    Convolution2DTranspose as Convolution2DTranspose,
    Convolution3D as Convolution3D,
    Convolution3DTranspose as Convolution3DTranspose,
    DepthwiseConv1D as DepthwiseConv1D,
    DepthwiseConv2D as DepthwiseConv2D,
    SeparableConv1D as SeparableConv1D,
    SeparableConv2D as SeparableConv2D,
    SeparableConvolution1D as SeparableConvolution1D,
    SeparableConvolution2D as SeparableConvolution2D,
)
from fitloom.layers.core import (
    Dense as Dense,
    EinsumDense as EinsumDense,
    Identity as Identity,
    Lambda as Lambda,
    Masking as Masking,
)
from fitloom.layers.input_layer import Input as Input, InputLayer as InputLayer
from fitloom.layers.input_spec import InputSpec as InputSpec
from fitloom.layers.layer import Layer as Layer
from fitloom.layers.embedding import (
    Embedding as Embedding,
    ReversibleEmbedding as ReversibleEmbedding,
)
from fitloom.layers.locally_connected import (
    LocallyConnected1D as LocallyConnected1D,
    LocallyConnected2D as LocallyConnected2D,
)
from fitloom.layers.merging import (
    Add as Add,
    Average as Average,
    Concatenate as Concatenate,
    Dot as Dot,
    Maximum as Maximum,
    Merge as Merge,
    Minimum as Minimum,
    Multiply as Multiply,
    Subtract as Subtract,
    add as add,
    average as average,
    concatenate as concatenate,
    dot as dot,
    maximum as maximum,
    minimum as minimum,
    multiply as multiply,
    subtract as subtract,
)
from fitloom.layers.normalization import (
    BatchNormalization as BatchNormalization,
    GroupNormalization as GroupNormalization,
    LayerNormalization as LayerNormalization,
    RMSNormalization as RMSNormalization,
    SpectralNormalization as SpectralNormalization,
    UnitNormalization as UnitNormalization,
)
from fitloom.layers.pooling import (
    AdaptiveAveragePooling1D as AdaptiveAveragePooling1D,
    AdaptiveAveragePooling2D as AdaptiveAveragePooling2D,
    AdaptiveAveragePooling3D as AdaptiveAveragePooling3D,
    AdaptiveMaxPooling1D as AdaptiveMaxPooling1D,
    AdaptiveMaxPooling2D as AdaptiveMaxPooling2D,
    AdaptiveMaxPooling3D as AdaptiveMaxPooling3D,
    AveragePooling1D as AveragePooling1D,
    AveragePooling2D as AveragePooling2D,
    AveragePooling3D as AveragePooling3D,
    AvgPool1D as AvgPool1D,
    AvgPool2D as AvgPool2D,
    AvgPool3D as AvgPool3D,
    GlobalAveragePooling1D as GlobalAveragePooling1D,
    GlobalAveragePooling2D as GlobalAveragePooling2D,
    GlobalAveragePooling3D as GlobalAveragePooling3D,
    GlobalAvgPool1D as GlobalAvgPool1D,
    GlobalAvgPool2D as GlobalAvgPool2D,
    GlobalAvgPool3D as GlobalAvgPool3D,
    GlobalMaxPool1D as GlobalMaxPool1D,
    GlobalMaxPool2D as GlobalMaxPool2D,
    GlobalMaxPool3D as GlobalMaxPool3D,
    GlobalMaxPooling1D as GlobalMaxPooling1D,
    GlobalMaxPooling2D as GlobalMaxPooling2D,
    GlobalMaxPooling3D as GlobalMaxPooling3D,
    MaxPool1D as MaxPool1D,
    MaxPool2D as MaxPool2D,
    MaxPool3D as MaxPool3D,
    MaxPooling1D as MaxPooling1D,
    MaxPooling2D as MaxPooling2D,
    MaxPooling3D as MaxPooling3D,
)
from fitloom.layers.jax_layer import (
    JaxLayer as JaxLayer,
)
from fitloom.layers.preprocessing_audio import (
    MelSpectrogram as MelSpectrogram,
    STFTSpectrogram as STFTSpectrogram,
)
from fitloom.layers.preprocessing_color import (
    AutoContrast as AutoContrast,
    Equalization as Equalization,
    RandomBrightness as RandomBrightness,
    RandomColorDegeneration as RandomColorDegeneration,
    RandomColorJitter as RandomColorJitter,
    RandomContrast as RandomContrast,
    RandomGaussianBlur as RandomGaussianBlur,
    RandomGrayscale as RandomGrayscale,
    RandomHue as RandomHue,
    RandomInvert as RandomInvert,
    RandomPosterization as RandomPosterization,
    RandomSaturation as RandomSaturation,
    RandomSharpness as RandomSharpness,
    Solarization as Solarization,
)
from fitloom.layers.preprocessing_encoding import (
    CategoryEncoding as CategoryEncoding,
    Discretization as Discretization,
    HashedCrossing as HashedCrossing,
    Hashing as Hashing,
)
from fitloom.layers.preprocessing_geometric import (
    RandomElasticTransform as RandomElasticTransform,
    RandomErasing as RandomErasing,
    RandomPerspective as RandomPerspective,
    RandomRotation as RandomRotation,
    RandomShear as RandomShear,
    RandomTranslation as RandomTranslation,
    RandomZoom as RandomZoom,
)
from fitloom.layers.preprocessing_image import (
    CenterCrop as CenterCrop,
    MaxNumBoundingBoxes as MaxNumBoundingBoxes,
    Pipeline as Pipeline,
    RandomCrop as RandomCrop,
    RandomFlip as RandomFlip,
    Resizing as Resizing,
)
from fitloom.layers.preprocessing_lookup import (
    IntegerLookup as IntegerLookup,
    StringLookup as StringLookup,
)
from fitloom.layers.preprocessing_mixing import (
    AugMix as AugMix,
    CutMix as CutMix,
    MixUp as MixUp,
    RandAugment as RandAugment,
)
from fitloom.layers.preprocessing_numeric import (
    Normalization as Normalization,
    Rescaling as Rescaling,
)
from fitloom.layers.preprocessing_sizes import RandomHeight as RandomHeight, RandomWidth as RandomWidth
from fitloom.layers.preprocessing_text import (
    TextVectorization as TextVectorization,
)
from fitloom.layers.recurrent import (
    GRU as GRU,
    LSTM as LSTM,
    RNN as RNN,
    SimpleRNN as SimpleRNN,
)
from fitloom.layers.recurrent_cells import (
    GRUCell as GRUCell,
    LSTMCell as LSTMCell,
    SimpleRNNCell as SimpleRNNCell,
    StackedRNNCells as StackedRNNCells,
)
from fitloom.layers.recurrent_convolution import (
    ConvLSTM1D as ConvLSTM1D,
    ConvLSTM2D as ConvLSTM2D,
    ConvLSTM3D as ConvLSTM3D,
)
from fitloom.layers.recurrent_wrappers import (
    Bidirectional as Bidirectional,
    TimeDistributed as TimeDistributed,
)
from fitloom.layers.regularization import (
    ActivityRegularization as ActivityRegularization,
    AlphaDropout as AlphaDropout,
    Dropout as Dropout,
    GaussianDropout as GaussianDropout,
    GaussianNoise as GaussianNoise,
    SpatialDropout1D as SpatialDropout1D,
    SpatialDropout2D as SpatialDropout2D,
    SpatialDropout3D as SpatialDropout3D,
)
from fitloom.layers.reshaping import (
    Cropping1D as Cropping1D,
    Cropping2D as Cropping2D,
    Cropping3D as Cropping3D,
    Flatten as Flatten,
    Permute as Permute,
    RepeatVector as RepeatVector,
    Reshape as Reshape,
    UpSampling1D as UpSampling1D,
    UpSampling2D as UpSampling2D,
    UpSampling3D as UpSampling3D,
    ZeroPadding1D as ZeroPadding1D,
    ZeroPadding2D as ZeroPadding2D,
    ZeroPadding3D as ZeroPadding3D,
)
from fitloom.layers.wrapper import (
    Wrapper as Wrapper,
)
