"""Questions to results: queries, comparisons, layer activations."""
