"""Feature files, text features, batches, and the embedded data set."""
