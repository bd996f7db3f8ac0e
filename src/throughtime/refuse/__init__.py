"""What a user hands in: looked at before anything is computed, and refused in a sentence."""
