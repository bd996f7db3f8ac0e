"""What a function's code is: its names, its digest, its machine code on disk."""
