"""What is trained: a pre-trained checkpoint, or an architecture with fresh weights."""

from finetune.models.loaded import Loaded
from finetune.models.pretrained import Pretrained
from finetune.models.scratch import Scratch

__all__ = ["Loaded", "Pretrained", "Scratch"]
