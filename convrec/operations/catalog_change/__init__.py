"""What a catalog change means for a profile: the plan before the rebuild, the report after it."""
