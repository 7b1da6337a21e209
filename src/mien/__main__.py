"""`python -m mien` is `mien`."""

from mien.entry import main

if __name__ == "__main__":
    main()
