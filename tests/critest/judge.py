"""What counts: turns the specs of critest's report into result lines, with the lists `skipped` and `awaited`."""
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))


def conditions():
    """What holds on this machine, of what the list `skipped` asks for."""
    found = {"always"}
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as source:
            enabled = source.read().strip() == "Y"
    except OSError:
        enabled = False
    if not enabled:
        found.add("no-apparmor")
    return found


def read_list(name):
    """(pattern, reason, condition) of the lines `pattern: reason` of a list; `[condition]` goes before lines that need one."""
    entries, condition = [], "always"
    with open(os.path.join(HERE, name), encoding="utf-8") as source:
        for line in source:
            line = line.strip()
            if line.startswith("["):
                condition = line.strip("[]")
            elif line and not line.startswith("#"):
                pattern, reason = line.split(": ", 1)
                entries.append((re.compile(pattern), reason, condition))
    return entries


class Judge:
    """Turns specs into result lines."""

    def __init__(self, peer):
        holds = conditions()
        self.skipped = [e for e in read_list("skipped") if e[2] in holds]
        self.awaited = [] if peer else read_list("awaited")
        self.failed = False

    def line(self, outcome, name, why=""):
        self.failed |= outcome == "not ok"
        why = re.sub(r"\s+", " ", why).strip()[:300]
        print("%s %s%s" % (outcome, name, ": " + why if why else ""), flush=True)

    def spec(self, report, prefix, is_repeated):
        words = [t for t in report["ContainerHierarchyTexts"] or [] if t] + [report["LeafNodeText"]]
        text = " ".join(words)
        name = prefix + re.sub(r"[^A-Za-z0-9=|/-]+", "-", text.replace("[k8s.io] ", "")).strip("-")
        state, failure = report["State"], report.get("Failure") or {}
        for pattern, reason, _ in self.awaited:
            if pattern.search(text):
                if state == "passed":
                    self.line("not ok", name, "it passes: take it out of tests/critest/awaited")
                else:
                    self.line("skip", name, "awaited: " + reason)
                return
        if state == "passed":
            self.line("ok", name)
            return
        if state == "skipped":
            for pattern, reason, _ in self.skipped:
                if pattern.search(text):
                    if not is_repeated:
                        self.line("skip", name, reason)
                    return
            self.line("not ok", name, "it was skipped, and tests/critest/skipped does not say why: " + failure.get("Message", ""))
            return
        where = failure.get("Location", {})
        self.line("not ok", name, "%s: %s (%s:%s)" % (state, failure.get("Message", ""), os.path.basename(where.get("FileName", "")),
                                                      where.get("LineNumber", "")))
