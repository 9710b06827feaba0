from support.product import product

__all__ = ["product"]
