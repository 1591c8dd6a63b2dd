"""`python -m pando_scheduler`."""

from pando_scheduler.main import main

main()
