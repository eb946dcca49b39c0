"""Sources, batches and specs."""
