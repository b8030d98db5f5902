"""A development server that speaks TensorFlow Serving's own API."""
