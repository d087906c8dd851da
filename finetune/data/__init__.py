"""The rows of a run: where they come from, how they are read, split and checked."""

from finetune.data.data import Data as Data
from finetune.data.data import Splits as Splits
