"""People compare answers without knowing whose they are: the draw, the decisions, and what they say."""
