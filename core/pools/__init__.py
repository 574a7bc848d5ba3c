"""Work pools: the pool type contract, and the way of a pool from variables to ready and back."""
