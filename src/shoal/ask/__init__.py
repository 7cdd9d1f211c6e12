"""Ask: what models say of the rows of one partition, and the answers of all partitions together."""
