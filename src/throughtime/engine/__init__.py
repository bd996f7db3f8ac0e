"""The sequence loops, once for each device."""
