"""`throughtime`, the command of the shell: what is done once, before programs run."""
