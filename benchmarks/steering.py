"""Which way of steering works? Every factor of the phantom, brought in and taken out, by eleven ways with controls.

Run: python benchmarks/steering.py --run DIR [--findings KEY,KEY] [--select 16] [--report 40] [--json FILE]

DIR gets activations of phantoms (series 1) at language.2 and an autoencoder, unless it has them. Then:

1. Features, maps and difference fields are taken from the select half of those patients.
2. On phantoms of series 21 with one image every way is tried at each of its strengths. Chosen is the strength (and for
   groups the size and kind of map) with the most clean reports among those that change at most 3 % of other findings
   and leave at most 2 % of reports unreadable; without any such, the one nearest to that. Since any push takes findings
   out of reports, for the goal "absent" the two cleanest of a way are compared by what they do beyond a random one.
3. On phantoms of series 24, not looked at before, each way runs once at its chosen strength beside five random
   directions of the same length token by token, and for maps five random groups of other features in their own maps.

A report is clean if it can be read, says what the goal asks, and changes no other finding. A factor counts as recovered
if the mean activation of its best feature tells it apart with AUROC ≥ .9 on the select half.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

# This file is called like the package that it measures, and Python searches the folder of a script first. So the
# folder gives way to its parent; where another benchmark imports `steering` and finds this file, it gets the package.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if Path(path).resolve() != _HERE] + [str(_HERE)]
sys.path.insert(0, str(_HERE.parent))

if __name__ == "__main__":
    from benchmarks.steering_methods import main

    main(str(__doc__).split("\n", 1)[0])
else:
    del sys.modules[__name__]
    sys.modules[__name__] = import_module(__name__)
