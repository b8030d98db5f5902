"""`tfrec-llm doctor`."""

from __future__ import annotations

from typing import Any

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json


def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Look at this installation, say what to mend.

    Versions, libraries that load, processor, memory, disk and the encoder are looked at.
    Exit code 1 if there is a problem.
    """
    from tfrec_llm.workflows.doctor import doctor as examine

    report = examine()
    if as_json:
        output.print_json(report)
    else:
        output.print_lines(*_as_text(report))
    if report["problems"]:
        raise typer.Exit(1)


def _as_text(report: dict[str, Any]) -> list[str]:
    cpu, memory, cache = report["cpu"], report["memory"], report["cache"]
    flags = " ".join(flag for flag, present in cpu["flags"].items() if present)
    lines = [
        f"tfrec_llm {report['tfrec_llm']}, Python {report['python']['version']}, "
        f"{report['system']['platform']}",
        f"processor: {cpu['model'] or cpu['machine']}, {cpu['cores']} cores, {flags or 'no flags'}",
        f"memory: {_gigabytes(memory['available_bytes'])} free of "
        f"{_gigabytes(memory['total_bytes'])}",
        f"cache: {cache['folder']}, {_gigabytes(cache['free_bytes'])} free",
        f"GPUs: {', '.join(map(str, report['gpus'])) or 'none'}",
        f"encoder: {report['encoder']['name']}, {report['encoder'].get('location', 'not found')}",
        "",
        "packages:",
    ]
    for package in report["packages"]:
        needs = package["required"] or "any"
        extra = f", extra {package['extra']}" if package["extra"] else ""
        installed = package["installed"] or "-"
        lines.append(f"  {package['name']:<24}{installed:<10} needs {needs}{extra}")
    lines += ["", "libraries that load:"]
    for name, found in report["libraries"].items():
        facts = ", ".join(
            f"{fact} {value}" for fact, value in found["facts"].items() if isinstance(value, str)
        )
        lines.append(f"  {name:<24}{'yes' if found['loads'] else 'NO'}  {facts}".rstrip())
    for heading in ("notes", "problems"):
        for finding in report[heading]:
            lines += ["", f"{heading[:-1]}: {finding['what']}", f"  mend: {finding['mend']}"]
    if not report["problems"]:
        lines += ["", "No problems found."]
    return lines


def _gigabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"
