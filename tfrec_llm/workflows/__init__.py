"""One function for each verb; the only place that knows both configuration and objects."""
