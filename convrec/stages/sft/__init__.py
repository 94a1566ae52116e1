"""Stage `sft`: the student learns to answer as the demonstrations do.

The first training stage of the paper (its section on behavioural cloning): the model sees each
conversation of split train and the list made for it, with loss on the list alone. Importing this
package imports no torch; building does.
"""

from convrec.stages.sft.step import SFT

__all__ = ["SFT"]
