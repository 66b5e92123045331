"""The networks that a recipe can name, and the table in which a user's own are added.

Initial weights are drawn from torch's global generator in the order in which the layers are made: the caller seeds
it, so that the same seed gives the same weights.
"""

from shoal.models.convnet import Convnet
from shoal.models.gpt import Gpt
from shoal.models.mlp import Mlp
from shoal.models.reparametrise import reparametrised
from shoal.models.resnet import Resnet
from shoal.models.table import BUILDERS, OF_TOKENS, SUPPLIED, build, register

__all__ = [
    "BUILDERS",
    "OF_TOKENS",
    "SUPPLIED",
    "Convnet",
    "Gpt",
    "Mlp",
    "Resnet",
    "build",
    "register",
    "reparametrised",
]
