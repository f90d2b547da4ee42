"""Tasks of the evaluation, one file each."""
