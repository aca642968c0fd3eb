"""The command line of the client: ``python -m clinic.client``. Address and token come from MARROW_URL, MARROW_TOKEN.

Exit codes: 0 done; 1 the server refused; 2 wrong words; 3 a file was refused, or a row of a table; 4 the analysis
failed or was cancelled; 5 the server does not answer; 130 interrupted (call again: what was sent stays sent).
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from .client import Client
from .errors import Problem, Unreachable
from .types import Analysis

DONE, REFUSED_BY_SERVER, WRONG_WORDS, FILE_REFUSED, ANALYSIS_FAILED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
KINDS = ("smear_field", "smear_cell", "expression", "labs", "history")


def main(words: Sequence[str] | None = None) -> int:
    args = parser().parse_args(words)
    if not args.url or not args.token:
        sys.stderr.write("Name the server and the token: MARROW_URL and MARROW_TOKEN, or --url and --token.\n")
        return WRONG_WORDS
    try:
        with Client(args.url, args.token) as marrow:
            return int(args.act(marrow, args))
    except Problem as problem:
        sys.stderr.write("\n".join(problem.lines()) + "\n")
        return REFUSED_BY_SERVER
    except Unreachable as error:
        sys.stderr.write(f"{error}\n")
        return UNREACHABLE
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_WORDS
    except KeyboardInterrupt:
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="marrow", description=__doc__.partition("\n")[0])
    made.add_argument("--url", default=os.environ.get("MARROW_URL", ""))
    made.add_argument("--token", default=os.environ.get("MARROW_TOKEN", ""))
    acts = made.add_subparsers(required=True, metavar="ACT")
    cases = acts.add_parser("cases", help="find cases")
    cases.add_argument("--q", default="", help="part of a name or record number")
    cases.add_argument("--limit", type=int, default=20)
    cases.set_defaults(act=find_cases)
    opened = acts.add_parser("open", help="open a case, and register its patient where unknown; prints its id")
    for name in ("--mrn", "--name"):
        opened.add_argument(name, required=True)
    for name in ("--site", "--title", "--history", "--birth-date"):
        opened.add_argument(name, default="")
    opened.set_defaults(act=open_case)
    upload = acts.add_parser("upload", help="send files or folders to a case; call again to go on where it was cut")
    upload.add_argument("paths", nargs="+", type=Path)
    upload.add_argument("--case", required=True)
    upload.add_argument("--kind", choices=KINDS, default="", help="else each file's content tells")
    upload.add_argument("--analyse", action="store_true", help="and analyse, and wait for the end")
    upload.set_defaults(act=send)
    watch = acts.add_parser("analyse", help="analyse a case, and wait for the end")
    watch.add_argument("--case", required=True)
    watch.set_defaults(act=analyse)
    report = acts.add_parser("report", help="fetch the newest report of a case, as JSON")
    report.add_argument("--case", required=True)
    report.add_argument("--out", type=Path)
    report.set_defaults(act=fetch_report)
    table = acts.add_parser("import", help="import a table of cases or labs, and wait for its rows")
    table.add_argument("path", type=Path)
    table.add_argument("--kind", choices=("cases", "labs"), required=True)
    table.add_argument("--site", default="")
    table.set_defaults(act=import_table)
    return made


def find_cases(marrow: Client, args: argparse.Namespace) -> int:
    asked = {"q": args.q} if args.q else {}
    for case, _ in zip(marrow.cases(**asked), range(args.limit), strict=False):
        sys.stdout.write(f"{case['id']}\t{case['created_at']}\t{case['title']}\n")
    return DONE


def open_case(marrow: Client, args: argparse.Namespace) -> int:
    more = {"birth_date": args.birth_date} if args.birth_date else {}
    patient = marrow.register_patient(site=_site(marrow, args.site), mrn=args.mrn, name=args.name, **more)
    sys.stdout.write(marrow.open_case(patient, title=args.title, history=args.history)["id"] + "\n")
    return DONE


def send(marrow: Client, args: argparse.Namespace) -> int:
    files = list(_files(args.paths))
    if not files:
        sys.stderr.write("There is no file to send.\n")
        return WRONG_WORDS
    uploads = []
    with tqdm(total=sum(f.stat().st_size for f in files), unit="B", unit_scale=True, disable=None) as bar:
        for file in files:
            bar.set_description(file.name[:30])
            uploads.append(marrow.upload(args.case, file, kind=args.kind, progress=bar.update))
    refused = 0
    for verdict in marrow.checked(args.case, uploads):
        why = verdict["rejection"]
        refused += why is not None
        said = f"{why['problem']} {why['remedy']}" if why else str(verdict.get("kind", ""))
        sys.stdout.write(f"{verdict['status']}\t{verdict['filename']}\t{said}\n")
    if args.analyse and refused < len(files):
        return analyse(marrow, args) or (FILE_REFUSED if refused else DONE)
    return FILE_REFUSED if refused else DONE


def analyse(marrow: Client, args: argparse.Namespace) -> int:
    asked = said = marrow.analyse(args.case)
    with tqdm(bar_format="{desc}", disable=None) as line:
        for said in marrow.watch(asked["id"]):
            line.set_description_str(_stage(said))
    if said["status"] != "succeeded":
        failure = said["failure"] or {"message": "It was cancelled."}
        sys.stderr.write(f"{said['status']}: {failure['message']}\n")
        return ANALYSIS_FAILED
    answer = marrow.assessment(said["id"])
    sys.stdout.write(f"{answer['status']}\t{answer['answer']}\t{answer['probability']}\n")
    for line_ in [*answer["body"]["urgent"], *answer["body"]["discordance"], *answer["body"]["reasons"]]:
        sys.stdout.write(f"note\t{line_['message'] if isinstance(line_, dict) else line_}\n")
    return DONE


def fetch_report(marrow: Client, args: argparse.Namespace) -> int:
    report = marrow.report(args.case)
    if report is None:
        sys.stderr.write("This case has no report yet.\n")
        return REFUSED_BY_SERVER
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    if args.out:
        args.out.write_text(text, "utf-8")
    else:
        sys.stdout.write(text)
    return DONE


def import_table(marrow: Client, args: argparse.Namespace) -> int:
    job = marrow.import_table(args.path, kind=args.kind, site=_site(marrow, args.site))
    with tqdm(total=job["total"], unit="row", disable=None) as bar:
        while True:
            bar.update(job["total"] - job["rows"]["pending"] - bar.n)
            if job["status"] == "done":
                break
            time.sleep(1)
            job = marrow.import_(job["id"])
    for row in marrow.pages(f"imports/{job['id']}/rows", status="rejected", limit=200):
        why = row["problem"]
        sys.stdout.write(f"line {row['number']}\t{why['place']}\t{why['problem']} {why['remedy']}\n")
    sys.stdout.write(json.dumps(job["rows"]) + "\n")
    return FILE_REFUSED if job["rows"]["rejected"] else DONE


def _files(paths: Sequence[Path]) -> list[Path]:
    """Files as named, and all below folders, without hidden ones; in one order, so that a second call is the first."""
    found: list[Path] = []
    for path in paths:
        below = (
            sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")) if path.is_dir() else []
        )
        found += below if path.is_dir() else [path]
    return found


def _site(marrow: Client, said: str) -> str:
    """The id of the site of this code or id; of the only one where none is named."""
    sites = marrow.sites()
    found = [site for site in sites if said in (site["id"], site["code"])] if said else sites
    if len(found) != 1:
        known = ", ".join(site["code"] for site in sites)
        raise Problem({"status": 0, "code": "which_site", "detail": f"Name one of your sites with --site: {known}."})
    return found[0]["id"]


def _stage(said: Analysis) -> str:
    place = f", place {said['queue_place']} in the queue" if said["queue_place"] else ""
    part = f" {said['done']}/{said['total']}" if said["total"] else ""
    return f"{said['status']}: {said['stage']}{part}{place}"
