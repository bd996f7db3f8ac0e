"""The sequence loops, what they are made of, and how they are compiled."""
