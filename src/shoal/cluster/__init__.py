"""Cluster: atoms merged into balanced partitions, a frozen assigner, and the partition index."""
