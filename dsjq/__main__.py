"""`python -m dsjq` is `dsjq`."""
from .cli import main

if __name__ == "__main__":
    main()
