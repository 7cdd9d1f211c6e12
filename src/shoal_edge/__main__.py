"""``python -m shoal_edge`` is the command ``shoal-edge``."""

from shoal_edge.command import main

main()
