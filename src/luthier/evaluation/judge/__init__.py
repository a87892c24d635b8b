"""A model that judges answers: two side by side in both orders, or each by a rubric; what that is worth is measured too."""
