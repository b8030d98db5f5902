"""What speaks for an item whoever asks: that it is taken late, and how many took it."""
