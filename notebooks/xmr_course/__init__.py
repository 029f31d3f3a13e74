"""The course beside the library: lessons, explorers, printed tables and grading."""
