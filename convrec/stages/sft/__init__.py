"""Stage `sft`: the student learns to answer like the demonstrations.

The first training stage of the paper (behavior cloning). The model sees each conversation of split
train and its demonstration; the loss covers the demonstration only. Importing this package does not
import torch; building does.
"""

from convrec.stages.sft.step import SFT

__all__ = ["SFT"]
