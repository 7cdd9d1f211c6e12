"""The pool store: thousands of models, exact, small and fast. See docs/pool-store.md."""

from shoal.model_store.store import PoolStore

__all__ = ["PoolStore"]
