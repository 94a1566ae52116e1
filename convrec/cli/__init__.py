"""The commands of `convrec`, one module per group; `flows.cli` assembles and runs them."""
