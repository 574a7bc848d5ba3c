"""The built-in pool types, one module or package each."""
