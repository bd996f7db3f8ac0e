"""Networks and their runs."""
