"""What can be wrong with data, one rule per file; `catalogue.RULES` names them all, `rule.look` asks them.

A new rule is a file that opens by saying what it finds, why it hurts and what to do, ends in ``RULE``, and is named in the
catalogue.
"""
