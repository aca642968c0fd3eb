"""What the fork server holds before a reader is forked from it: the readers, and the tables that are slow to load.

The registry of units takes a second, which every laboratory table would pay anew.
"""

import genomics.expression.genes
import genomics.labs.units
import ml.images
import ml.white_cells
import workers.recognise

READERS = (ml.images, ml.white_cells, workers.recognise)

genomics.labs.units.factor("g/L", "g/dL")
genomics.expression.genes.is_gene("CD19")
