"""`python -m fedchain` is `fedchain`."""

from fedchain.cli.main import main

if __name__ == "__main__":
    main()
