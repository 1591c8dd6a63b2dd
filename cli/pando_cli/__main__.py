"""`python -m pando_cli`: the `pando` command without its script."""

from pando_cli.main import main

if __name__ == "__main__":
    main()
