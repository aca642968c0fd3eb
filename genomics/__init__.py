"""Expression and labs: read, validate, normalise, train, predict, explain. No Django here."""
