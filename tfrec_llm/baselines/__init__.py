"""What a user would try first: tuned on validation, and beside ours in every report."""
