"""Written titles: line formats, normalization, exact lookup and linking to catalog items."""
