"""`tokenledger import` with every kind of file it reads."""

from ledger.commands.data.import_fx import fx
from ledger.commands.data.import_grid import grid
from ledger.commands.data.import_prices import litellm, modelsdev, tokencost
from ledger.commands.data.import_tariff import tariff
from ledger.commands.data.import_urdb import urdb
from ledger.commands.data.imports import import_

__all__ = ["import_"]

import_.add_command(fx)
import_.add_command(litellm)
import_.add_command(modelsdev)
import_.add_command(grid)
import_.add_command(tariff)
import_.add_command(tokencost)
import_.add_command(urdb)
