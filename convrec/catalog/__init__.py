"""Catalogs: reading and comparing them, and finding which item a written title means."""
