"""Gate: a specialist serves only where it beats the generalist on rows that neither has seen."""
