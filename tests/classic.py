"""A table of the classic kind, made up: timestamp, source, log_message, target_label; six sources, nine labels.

The labels are as uneven as in the tables that circulate: nearly half are HTTP records, two labels have a handful
of rows. Sentences are put together from alternatives, so near-copies abound, as they do there.
"""

# ruff: noqa: E501  (a template is read best on one line)

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from random import Random

from logclf.training.corpus import fill

ROWS = {
    "HTTP Status": 1017, "Security Alert": 371, "System Notification": 356, "Error": 177, "Resource Usage": 177,
    "Critical Error": 161, "User Action": 144, "Workflow Error": 4, "Deprecation Warning": 3,
}  # fmt: skip
SLOT = re.compile(r"\{([a-z]+)\}")
SOURCES = ("ModernCRM", "AnalyticsEngine", "ModernHR", "BillingSystem", "ThirdPartyAPI")
LEGACY = "LegacyCRM"

TEMPLATES = {
    "HTTP Status": [
        'gateway.http.server [req-{uuid}] {ip} "{method} /v2/{id}/{servers|images|volumes|flavors}{|/detail|/{int}} HTTP/1.1"'
        " {status:|RCODE|Return code:|HTTP status code -} {status} len: {int} time: 0.{int}",
        '{ip} - - "{method} {uri} HTTP/1.1" {status} {int}',
    ],
    "Security Alert": [
        "{Multiple|Repeated|Several|Too many} {bad|failed|incorrect|unsuccessful} {login|sign-in|authentication} {attempts|tries}"
        " {detected|observed|recorded|noticed} {on|for} user {int}{ account|}",
        "{Unauthorized|Unapproved|Illicit|Suspicious} access {to|on} {data|customer records|the admin page|server {int}}"
        " {was attempted|attempt blocked|has been detected|was stopped}",
        "{Privilege|Admin|Administrative} {escalation|elevation|rights} {violation|incident|breach|warning} for user {int}",
        "Account {int} {blocked|locked} due to failed {login|sign-in}{|s| attempts}",
        "{Alert|Warning}: {brute force|intrusion|possible breach} {attempt|activity} from {ip} {detected|prevented}",
        "API {access|security} {breach|violation} {attempt |}{detected|recorded} for {service|client} {int}",
    ],
    "System Notification": [
        "Backup {started|completed successfully|ended} at {datetime}",
        "System updated to version {version}",
        "File {file} uploaded {successfully |}by {service|system} {int}",
        "Disk cleanup {completed successfully|started|ended}",
        "System reboot initiated by {user|operator} {int}",
        "{Nightly|Weekly|Scheduled} {report|export|sync} {started|finished|queued}",
    ],
    "Error": [
        "{Shard|Replica} {int} replication {task ended in failure|task encountered an error|did not complete|has failed}",
        "{Email|Mail} service {experienced|is experiencing|ran into} {issues|problems|trouble} {with sending|while sending|during delivery}",
        "{Module|Component|Unit} X{int} {failed to process input|produced invalid output|encountered input format errors}"
        "{| due to format mismatch| at step {int}}",
        "{Data|Record} replication {error|failure} {for|on} shard {int}",
    ],
    "Resource Usage": [
        "compute.claims [instance: {uuid}] {Total|Free|Used} {memory|disk|vcpu}: {int} {MB|GB|VCPU}, used: {int}.00 {MB|GB|VCPU}",
        "compute.claims [instance: {uuid}] {memory|disk|vcpu} limit {not specified, defaulting to unlimited|: {int}.00 {MB|GB}, free: {int}.00}",
        "resource.tracker Final resource view: name={host} phys_ram={int}MB used_ram={int}MB phys_disk={int}GB used_disk={int}GB",
    ],
    "Critical Error": [
        "{RAID|Disk} array {suffered|experienced|has encountered|reports} {multiple|several|numerous} {disk|drive|hard disk}"
        " {failures|crashes|malfunctions}",
        "{Boot|Startup} process {terminated|stopped|ended} {unexpectedly |}due to kernel {issue|fault|panic|malfunction}",
        "{System|Core|Critical} {configuration|component|element} {is corrupt|is damaged|failed|malfunction, ID: component{int}}",
        "{Essential|Critical} system {part|component|unit} {int} {has failed|is down|is inoperative}",
    ],
    "User Action": [
        "User User{int} logged {in|out}.",
        "Account with ID {int} created by User{int}.",
        "User {int} {changed|updated} {profile|password|preferences}",
    ],
    "Workflow Error": [
        "{Lead conversion|Escalation rule execution|Case assignment|Task assignment} failed for {prospect|ticket|order} ID {int}"
        " {due to missing contact information|: undefined escalation level|because the assigned agent is no longer active}",
    ],
    "Deprecation Warning": [
        "The '{ExportToCSV|BulkEmailSender|ReportGenerator}' {feature|module|function} {is outdated|will be retired|is deprecated}"
        "{, please migrate| in version {version}}",
    ],
}  # fmt: skip


INNERMOST = re.compile(r"\{([^{}]*\|[^{}]*)\}")


def expand(text: str, rng: Random) -> str:
    """A template with its choices made, innermost first, and its slots filled."""
    marked = SLOT.sub(lambda slot: f"<<{slot.group(1)}>>", text)
    while choice := INNERMOST.search(marked):
        marked = marked[: choice.start()] + rng.choice(choice.group(1).split("|")) + marked[choice.end() :]
    return fill(marked.replace("<<", "{").replace(">>", "}"), rng)


def rows(seed: int = 7) -> list[tuple[str, str, str, str]]:
    """The whole table, shuffled."""
    rng = Random(seed)
    found = []
    for label, count in ROWS.items():
        for _ in range(count):
            source = LEGACY if label in ("Workflow Error", "Deprecation Warning") else rng.choice(SOURCES)
            stamp = f"2025-0{rng.randrange(1, 10)}-{rng.randrange(1, 29):02} {rng.randrange(24):02}:{rng.randrange(60):02}:00"
            found.append((stamp, source, expand(rng.choice(TEMPLATES[label]), rng), label))
    rng.shuffle(found)
    return found


def write(path: Path, seed: int = 7) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("timestamp", "source", "log_message", "target_label"))
        table.writerows(rows(seed))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
