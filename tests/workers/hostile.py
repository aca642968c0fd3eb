"""Readers that misbehave, for the sandbox to hold."""

import os
import time

from ml.findings import InputRejected


def reads(source, target, options):
    (target / "copy").write_bytes(source.read_bytes())
    return {"size": source.stat().st_size, "options": options}


def refuses(source, target, options):
    raise InputRejected("empty", place=source.name, problem="It is empty.", remedy="Send it again.")


def eats_memory(source, target, options):
    return {"size": len(bytearray(8 * 1024**3))}


def never_ends(source, target, options):
    time.sleep(3600)


def spins(source, target, options):
    while True:
        pass


def dies(source, target, options):
    os._exit(11)


def has_a_bug(source, target, options):
    return {}["missing"]
