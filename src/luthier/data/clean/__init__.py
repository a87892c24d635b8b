"""What can be repaired in data, one repair per file: from what a rule of `data.lint` finds to a row in which it finds nothing.

`catalogue.py` lists the repairs, `repair.py` says what one is, `cleaner.py` applies them to a row. Nothing here writes files.
"""
