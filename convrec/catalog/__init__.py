"""Catalogs: reading, comparing, publishing and watching them."""
