"""Language: from a caption to tags, referral trees, categories and concepts (SMFEA §3.2)."""
