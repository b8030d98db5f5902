"""What speaks for an item whoever asks: that many took it, and that it is taken late."""
