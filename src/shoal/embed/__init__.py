"""Rows to embeddings: identity, principal components, SCARF and VICReg."""
