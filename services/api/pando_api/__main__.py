"""`python -m pando_api`."""

from pando_api.main import main

main()
