"""Another choice from the candidates of a list: more diverse, less popular, no crowded category."""
