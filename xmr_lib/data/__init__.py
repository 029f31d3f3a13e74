"""Captioned images: drawn toy scenes, photographs, features, vocabulary and batches."""
