"""Statistics: which differences are noise, and a baseline that needs no training."""
