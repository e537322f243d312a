"""A trained SupArc, asked: the predictor, its export, its page."""
