"""Past models: kept, recovered, published."""
