"""``python -m genomics fetch gdc|geo``: public cohorts, fetched to a folder; run again, it goes on where it stopped."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import httpx

from genomics.sources import gdc, geo
from genomics.sources.download import open_client


def add_arguments(commands: Any) -> None:
    """The sub-command ``fetch`` of a parser's ``commands``."""
    fetch = commands.add_parser("fetch", help="a public cohort", description=__doc__)
    sources = fetch.add_subparsers(dest="source", required=True)
    of_gdc = sources.add_parser("gdc", help="STAR counts and clinical data of a project of the Genomic Data Commons")
    of_gdc.add_argument("project", help=f"for example {' or '.join(gdc.PROJECTS)}")
    of_gdc.add_argument("--limit", type=int, metavar="N", help="only the first N files")
    of_gdc.add_argument("--url", default=gdc.API, help="of the API or a mirror of it")
    of_geo = sources.add_parser("geo", help="the series matrices of a Gene Expression Omnibus accession")
    of_geo.add_argument("accession", help="for example GSE227832")
    of_geo.add_argument("--supplementary", action="store_true", help="also the authors' own files (counts of RNA-seq)")
    of_geo.add_argument("--url", default=geo.BASE, help="of the folder of series or a mirror of it")
    for source in (of_gdc, of_geo):
        source.add_argument("--out", type=Path, required=True, help="folder for what is fetched")


def fetch(said: argparse.Namespace, client: httpx.Client | None = None) -> dict[str, Any]:
    """What was fetched, as ``source.json`` has it. Raises InputRejected."""
    with client or open_client() as http:
        if said.source == "gdc":
            return gdc.fetch_project(http, said.project, said.out, api=said.url, limit=said.limit)
        return geo.fetch_series(http, said.accession, said.out, base=said.url, supplementary=said.supplementary)
