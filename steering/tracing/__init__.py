"""Where a report reads what: activation patching between pairs of studies."""
