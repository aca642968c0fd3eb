"""The diagnosis tree, findings, image reading, networks, explanation, calibration and fusion. No Django here."""
