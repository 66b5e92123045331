"""The parameters of every shipped dataset, model and task; their builders live in their rooms.

Those of optimizers are in `optimizer_parts`, of schedules in `schedule_parts`, of averages in `average_parts`. Adding
an entry: a class there, decorated with its kind, and a builder of the same name in the room.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import model_validator

from shoal.recipe.fields import ALWAYS, NEVER, WHOLE, Flag, Float, Int, Names, Part, Text, setting
from shoal.recipe.tables import entry

dataset = partial(entry, "dataset")
model = partial(entry, "model")
task = partial(entry, "task")


class DatasetPart(Part):
    """What every dataset has."""

    path: Text | None = setting(None, "where the files are, relative to the working directory", identity=NEVER)
    valid: Float | None = setting(
        None,
        "size of the valid split cut from train where there is none: a share below 1, or a count; "
        "null is a tenth, at most 5,000",
        identity=None,
        ge=0,
        unit="examples",
    )
    drop_last: Flag = setting(True, "leave out the last, smaller batch of a training epoch", identity=True)
    workers: Int = setting(0, "processes that read examples; 0 reads in the training process", identity=NEVER, ge=0)
    worker_timeout: Float | None = setting(
        600.0,
        "how long those processes may take for a batch before the training ends; null waits for ever",
        identity=NEVER,
        gt=0,
        unit="seconds",
    )
    normalise: Flag = setting(
        True,
        "shift and scale inputs by the mean and deviation of train, where they are numbers in memory",
        identity=True,
    )


class ByExample(DatasetPart):
    """What datasets that may be read example by example, by code of the user's, have as well."""

    broken: Literal["stop", "skip"] = setting(
        "stop",
        "what an example of a Dataset that raises leads to: the run fails, or it is left out and counted",
        identity="stop",
    )


def skips_broken(part: Part) -> bool:
    """Return whether examples of a Dataset that cannot be read are left out."""
    return isinstance(part, ByExample) and part.broken == "skip"


@dataset
class Digits(DatasetPart):
    """The 1,797 handwritten digits of UCI, 8x8 pixels, shipped with Shoal: 1,257 train, 180 valid, 360 test."""

    name: Literal["digits"] = "digits"


@dataset
class Idx(DatasetPart):
    """The MNIST family: a folder with {train,t10k}-{images,labels} IDX files, gzipped or not."""

    name: Literal["idx"] = "idx"


@dataset
class Arrays(DatasetPart):
    """NumPy arrays: an NPZ file, a folder of NPY files, or arrays and tensors passed from Python."""

    name: Literal["arrays"] = "arrays"


@dataset
class Table(DatasetPart):
    """A table with named columns: a CSV, Parquet or Feather file, or a folder with train.csv, valid.csv, test.csv."""

    name: Literal["table"] = "table"
    target: Text | tuple[Text, ...] | None = setting(
        None, "the column to predict, or several: numbers, or labels of 0 and 1", identity=NEVER
    )
    target_type: Literal["auto", "class", "number"] = setting(
        "auto", "what a target is; auto: whole numbers and texts are classes, unless task=regression", identity=NEVER
    )
    categorical: Names = setting((), "columns of numbers that are names of categories", identity=NEVER)
    ignore: Names = setting((), "columns to leave out", identity=NEVER)
    missing: Literal["impute", "drop", "stop"] = setting(
        "impute",
        "where values are missing: the median of train or a category of its own, leave the row out, or an error",
        identity=NEVER,
    )


@dataset
class MapStyle(ByExample):
    """A map-style torch.utils.data.Dataset passed from Python, read by worker processes."""

    name: Literal["map_style"] = "map_style"


@dataset
class PlainText(DatasetPart):
    """A text in UTF-8, cut into blocks of tokens: a file, or a folder with train.txt, valid.txt and test.txt.

    Only train.txt must be there; a valid split that is not is the end of the text.
    """

    name: Literal["text"] = "text"
    tokenizer: Literal["characters", "bytes", "external"] = setting(
        "characters",
        "what a token is: a character of the text, or a byte; external is a tokenizer passed from Python",
        identity="characters",
    )
    context: Int = setting(128, "tokens of an example", identity=128, ge=1, unit="tokens")
    stride: Int | None = setting(
        None,
        "tokens from the start of a train example to that of the next; null is the context, without overlap",
        identity=None,
        ge=1,
        unit="tokens",
    )

    @model_validator(mode="after")
    def _one_meaning(self) -> PlainText:
        """A stride of the context is what null means, and tokens are never normalised: one meaning, one value."""
        if self.stride == self.context:
            object.__setattr__(self, "stride", None)
        object.__setattr__(self, "normalise", True)
        return self


@dataset
class ImageFolder(DatasetPart):
    """Pictures (JPEG, PNG, BMP, GIF, WebP) in class folders, or in train, valid and test folders of those; or a tar.

    They are decoded once, into a cache: $SHOAL_CACHE, else shoal in the user's cache folder.
    """

    name: Literal["image_folder"] = "image_folder"
    size: Int | None = setting(
        None,
        "pictures are resized to size x size; null leaves them as they are, all of one size",
        identity=None,
        ge=1,
        le=4096,
        unit="pixels",
    )
    channels: Annotated[Literal[1, 3], WHOLE] = setting(
        3, "channels of a picture: 3 is red, green and blue, 1 is grey", identity=3
    )
    broken: Literal["stop", "skip"] = setting(
        "stop", "what to do about a broken picture: stop, or leave it out", identity=NEVER
    )


@dataset
class Cifar10(DatasetPart):
    """CIFAR-10 as published: cifar-10-binary.tar.gz or cifar-10-python.tar.gz, or the folder in one of them."""

    name: Literal["cifar10"] = "cifar10"


@dataset
class Stream(DatasetPart):
    """A torch.utils.data.IterableDataset passed from Python, read in its own order, pass after pass."""

    name: Literal["stream"] = "stream"
    workers: Int = setting(
        0, "processes that read the stream, each its share; 0 reads in the training process", identity=0, ge=0
    )


@model
class Mlp(Part):
    """A multilayer perceptron: `depth` hidden layers of `width` units, then a linear layer."""

    name: Literal["mlp"] = "mlp"
    width: Int = setting(128, "units of each hidden layer", identity=128, ge=1)
    depth: Int = setting(1, "hidden layers", identity=1, ge=0)
    dropout: Float = setting(0.0, "probability of zeroing a hidden unit", identity=0.0, ge=0, lt=1, stackable=True)
    norm: Literal["none", "batch", "layer"] = setting("none", "normalisation before each activation", identity="none")
    activation: Literal["relu", "gelu", "tanh"] = setting("relu", "activation function", identity="relu")


@model
class Convnet(Part):
    """A convolutional network: `depth` blocks whose channels double from `width`, then pooling and a linear layer."""

    name: Literal["convnet"] = "convnet"
    width: Int = setting(32, "channels of the first block; each block doubles them", identity=32, ge=1)
    depth: Int = setting(2, "blocks of two 3x3 convolutions, each halving the picture", identity=2, ge=1)
    dropout: Float = setting(0.0, "probability of zeroing a feature", identity=0.0, ge=0, lt=1, stackable=True)
    norm: Literal["none", "batch", "group"] = setting("batch", "normalisation after each convolution", identity="batch")


@model
class Resnet(Part):
    """A residual network (He et al. 2015), of one of three kinds that its depth chooses.

    6n + 2 (20, 32, 44, 56, 110): the paper's for CIFAR, with shortcuts that have no weights. 9: the shallow and wide
    one of the DAWNBench records (Page 2018). 18: the paper's for larger pictures.
    """

    name: Literal["resnet"] = "resnet"
    depth: Int = setting(20, "layers with weights: 9, 18, or 6n + 2", identity=20, ge=1, le=1_202)
    width: Int | None = setting(
        None, "channels of the first stage; null is the usual 64, and 16 for depths of 6n + 2", identity=None, ge=1
    )
    norm: Literal["batch", "group"] = setting("batch", "normalisation after each convolution", identity="batch")
    stem: Literal["auto", "3x3", "7x7"] = setting(
        "auto",
        "how depth 18 begins: a 3x3 convolution, or a 7x7 one and pooling, which make the picture four times smaller; "
        "auto is 7x7 for pictures of 96 pixels and more",
        identity="auto",
    )
    drop_path: Float = setting(
        0.0,
        "probability of leaving out the last residual branch for an example; those before it less, in proportion to "
        "their depth (arXiv 1603.09382)",
        identity=0.0,
        ge=0,
        lt=1,
        stackable=True,
    )


@model
class Gpt(Part):
    """A decoder-only transformer: `depth` blocks of causal attention and a two-layer perceptron.

    Norms come before each half of a block (Xiong et al. 2020), positions are rotations of queries and keys (Su et al.
    2021), queries and keys are normalised (Henry et al. 2020).
    """

    name: Literal["gpt"] = "gpt"
    width: Int = setting(128, "numbers that stand for a token", identity=128, ge=1)
    depth: Int = setting(4, "blocks", identity=4, ge=1)
    heads: Int = setting(4, "heads of attention; they divide the width", identity=4, ge=1)
    dropout: Float = setting(0.0, "probability of zeroing", identity=0.0, ge=0, lt=1, stackable=True)
    drop_path: Float = setting(
        0.0,
        "probability of leaving out the last residual branch for an example; those before it less, in proportion to "
        "their depth (arXiv 1603.09382)",
        identity=0.0,
        ge=0,
        lt=1,
        stackable=True,
    )
    attention: Literal["fused", "einsum"] = setting(
        "fused", "how attention is computed: by torch's fused kernel, or written out", identity="fused"
    )


@model
class ExternalModel(Part):
    """An nn.Module passed from Python; `source` names it and is never imported."""

    name: Literal["external"] = "external"
    source: Text = setting("", "qualified name of the factory that was passed", identity=ALWAYS)


@task
class Classification(Part):
    """Cross entropy on class labels; accuracy, and top-5 accuracy where there are more than five classes."""

    name: Literal["classification"] = "classification"
    class_weights: tuple[Float, ...] | Literal["balanced"] | None = setting(
        None, "weight of each class in the loss, or 'balanced': inversely to its share of train", identity=None
    )


@task
class Regression(Part):
    """Real-valued targets; mean squared and absolute errors, and R2."""

    name: Literal["regression"] = "regression"
    loss: Literal["mse", "mae", "huber"] = setting("mse", "what is minimised", identity="mse")
    delta: Float = setting(1.0, "where Huber's loss turns from square to linear", identity=1.0, gt=0, stackable=True)


@task
class Multilabel(Part):
    """Several labels an example, targets of 0 and 1: binary cross entropy; accuracy, exact match and micro F1."""

    name: Literal["multilabel"] = "multilabel"
    positive_weights: tuple[Float, ...] | Literal["balanced"] | None = setting(
        None,
        "weight of each label in the loss where it is there, or 'balanced': examples without it over those with it",
        identity=None,
    )


@task
class LanguageModelling(Part):
    """Cross entropy of the next token at every place of a block; perplexity, and bits a character."""

    name: Literal["language_modelling"] = "language_modelling"


@task
class ExternalTask(Part):
    """A loss function passed from Python, of (outputs, targets); `source` names it and is never imported."""

    name: Literal["external"] = "external"
    source: Text = setting("", "qualified name of the function that was passed", identity=ALWAYS)
