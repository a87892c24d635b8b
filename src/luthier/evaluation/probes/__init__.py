"""Probes for safety: what tuning did that nobody asked for.

`refusals` is a task like any other: prompts that should be answered and prompts that should be refused. `memorisation` and
`leakage` ask the model with the beginnings of the rows that it was trained on, so they need a run's data, not only its model.
"""
