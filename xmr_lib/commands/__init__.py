"""What `python -m xmr_lib` can do: one function a command, grouped by what it is for."""
