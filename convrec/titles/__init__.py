"""What a written title means: line format, normalization, title index and linker."""
