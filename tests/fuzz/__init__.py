"""Files with random faults: whatever is read is used, or refused in one line."""
