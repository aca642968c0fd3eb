"""Marrow's REST API from Python. It needs httpx (the command line also tqdm), no Django; the folder can be copied out.

from clinic.client import Client
with Client("https://marrow.example", token="mrw_…") as marrow:
case = marrow.open_case(patient, title="New blasts")
marrow.upload(case["id"], Path("smear.png"))
"""

from .client import Client
from .errors import Problem, Unreachable

__all__ = ["Client", "Problem", "Unreachable"]
