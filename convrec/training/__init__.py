"""What both training stages share: checkpoints, the metrics log, launching and resuming.

`convrec.stages.sft` and `convrec.stages.rank_grpo` use it; the Rank-GRPO method is
`convrec.rank_grpo`. Importing this package does not import torch.
"""
