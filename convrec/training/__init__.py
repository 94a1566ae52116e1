"""What every training shares: a working folder, a record of figures, validation, resuming.

`rl` trains by reinforcement with any of the algorithms; `convrec.stages.sft` trains on
demonstrations. The method itself (objective, rewards, trainer) is `convrec.rank_grpo`. Importing
this package imports no torch.
"""
