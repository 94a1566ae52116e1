"""The effect of a catalog change on a profile: the plan of the rebuild, and the report after it."""
