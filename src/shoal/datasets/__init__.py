"""Where examples come from: datasets by name, from files or from Python, and their batches.

A dataset entry builds `Data` (splits, shapes, classes, digest, normalisation); `batches` turns a split into an endless
stream of batches that starts at any position. To add an entry: its parameters in `recipe.parts`, its builder in a file
here and in `table.BUILDERS`.
"""

from shoal.datasets.batches import START, Batch, Batches, Origin, Position, closed
from shoal.datasets.choose import batches
from shoal.datasets.examples import Data, Examples, Normalisation, Stream
from shoal.datasets.memory import MemoryBatches
from shoal.datasets.objects import from_objects
from shoal.datasets.stream_batches import StreamBatches, beginning
from shoal.datasets.table import BUILDERS, build, register
from shoal.datasets.workers import DatasetBatches

__all__ = [
    "BUILDERS",
    "START",
    "Batch",
    "Batches",
    "Data",
    "DatasetBatches",
    "Examples",
    "MemoryBatches",
    "Normalisation",
    "Origin",
    "Position",
    "Stream",
    "StreamBatches",
    "batches",
    "beginning",
    "build",
    "closed",
    "from_objects",
    "register",
]
