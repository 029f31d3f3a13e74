"""Image–sentence retrieval, written to be read: RFE, SMFEA and what they build on."""
