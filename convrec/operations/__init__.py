"""What people do to a warehouse: plan a catalog change, forget, collect garbage, migrate."""
