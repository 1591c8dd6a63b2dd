"""`python -m pando_scheduler.simulation`."""

import sys

from pando_scheduler.simulation.base_models import DEFAULT
from pando_scheduler.simulation.contenders import CONTENDERS
from pando_scheduler.simulation.main import main
from pando_scheduler.simulation.world_backend import WorldBackend

if __name__ == "__main__":
    policies = {name: contender.about for name, contender in CONTENDERS.items()}
    sys.exit(main(sys.argv[1:], WorldBackend, DEFAULT, policies))
