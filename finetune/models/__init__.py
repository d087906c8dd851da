"""What is trained: a checkpoint, an architecture with fresh weights, or a model in memory."""

from finetune.models.loaded import Loaded
from finetune.models.pretrained import Pretrained
from finetune.models.scratch import Scratch

__all__ = ["Loaded", "Pretrained", "Scratch"]
