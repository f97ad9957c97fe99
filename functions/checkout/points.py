"""`python -m functions.checkout.points` lists the points at which a checkout can be made to crash."""

from __future__ import annotations

from .saga import points

if __name__ == "__main__":
    print("\n".join(points()))
