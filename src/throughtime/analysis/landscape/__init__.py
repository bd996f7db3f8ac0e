"""Fixed points and the landscape of the loss."""
