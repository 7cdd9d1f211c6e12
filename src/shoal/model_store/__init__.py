"""The model store: thousands of models, exact, small and fast. See docs/model-store.md."""

from shoal.model_store.store import ModelStore

__all__ = ["ModelStore"]
