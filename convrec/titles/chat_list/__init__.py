"""Lists as chat models write them: numbered, bulleted, tables, JSON, explained, introduced.

`reader` picks the style of a text. `markers` finds numbers and bullets, `lines` decides which lines
are items, `item` reads the title and year of one, `remarks` knows what is not an item. `structured`
and `tables` read JSON, HTML and tables, `inline` lists in one sentence. `line_rule` is the simple
rule of one title a line.
"""
