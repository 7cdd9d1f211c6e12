"""What a device needs to keep a pool up to date: no torch, and nothing of the package ``shoal``.

It imports numpy, safetensors, zstandard and the standard library.
"""
