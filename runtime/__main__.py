"""`python -m poolform.runtime`."""

from poolform.runtime.job import main

if __name__ == "__main__":  # multiprocessing's children import this module again
    main()
