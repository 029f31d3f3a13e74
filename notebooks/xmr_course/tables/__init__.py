"""The papers' printed tables, and what the kit measures beside them."""
