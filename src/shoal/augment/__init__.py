"""What is done to a batch of training examples on its way into the model: pictures changed, examples mixed.

Tensor operations on the batch as it lies on the device. What is random is drawn for each example from its address
(key, index), never from a generator, so that neither the order of a batch nor who else is in it matters.
"""

from shoal.augment.augment import Augment, check
from shoal.augment.mixing import check_mixing, mixed, mixed_loss
from shoal.augment.pictures import ENTRIES, Entry

__all__ = ["ENTRIES", "Augment", "Entry", "check", "check_mixing", "mixed", "mixed_loss"]
