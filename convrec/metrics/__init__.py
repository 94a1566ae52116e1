"""Ranking metrics: pure functions of arrays, one metric a file, listed in `registry`.

`matcher` and `protocols` turn the text of recommended lists into the arrays that metrics read.
"""
