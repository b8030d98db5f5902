"""Texts made ready for a language model, in the TensorFlow graph."""
