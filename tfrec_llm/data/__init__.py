"""Tables in, checked tables and splits out."""
