#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws docs/processes.svg from ipc/topology.h, so that the picture cannot say anything that the code does not.

picture.py            writes the picture
picture.py --check    fails if the committed one differs
"""

import os
import re
import sys
from html import escape

HERE = os.path.dirname(os.path.abspath(__file__))
TOPOLOGY = os.path.join(HERE, "..", "ipc", "topology.h")
PICTURE = os.path.join(HERE, "processes.svg")

WIDTH, BOX_W, BOX_H = 980, 176, 38
COLOURS = {  # fill, border
    "BRAIN": ("#e3efff", "#2f6db5"),
    "HAND": ("#e9f7e6", "#3f8f3a"),
    "SPAWNER": ("#fdeede", "#c0661c"),
}
WORDS = {
    "BRAIN": "brain: decides; no privilege, no exec",
    "HAND": "hand: one privilege, fixed frames, no decisions",
    "SPAWNER": "spawner: starts foreign programs and does nothing else",
}


def read_topology():
    text = open(TOPOLOGY, encoding="utf-8").read()
    processes = re.findall(r'P\((\w+), "([\w-]+)", (\w+), (\w+)\)', text)
    edges = re.findall(r'E\((\w+), "([\w-]+)", (\w+), (\w+), (\w+)\)', text)
    if not processes or not edges:
        sys.exit(f"{TOPOLOGY}: no processes or edges found")
    return processes, edges


def place(processes):
    """Brains that the outside talks to on the left, the other brains in the middle, each one's hands to its right."""
    centre = {}
    front = [p for p in processes if p[0] in ("GATEWAYD", "STREAMD")]
    wiring = [p for p in processes if p[0] in ("LINKD", "LINKD_START")]
    brains = [p for p in processes if p[2] == "BRAIN" and p not in front and p not in wiring]
    y = 150
    for brain in brains:
        hands = [p for p in processes if p[3] == brain[0] and p[0] != brain[0]]
        top = y
        for i, hand in enumerate(hands):
            centre[hand[0]] = (850, y + i * 54)
        y += max(1, len(hands)) * 54 + 16
        centre[brain[0]] = (520, (top + y - 16 - 54) / 2)
    for i, process in enumerate(front):
        centre[process[0]] = (210, 210 + i * (y - 320))
    for i, process in enumerate(wiring):
        centre[process[0]] = (520 + i * 330, 70)
    return centre, y


def draw():
    processes, edges = read_topology()
    centre, height = place(processes)
    missing = [p[0] for p in processes if p[0] not in centre]
    if missing:
        sys.exit(f"no place in the picture for {', '.join(missing)}")
    kinds = {p[0]: p[2] for p in processes}
    out = []
    height = int(height) + 66
    out.append(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
               f'font-family="ui-sans-serif, Helvetica, Arial, sans-serif" font-size="14">')
    out.append(f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>')
    out.append('<text x="24" y="34" font-size="19" font-weight="600" fill="#1b2733">The processes of Bulkhead</text>')
    for name, who in (("GATEWAYD", "kubelet, crictl"), ("STREAMD", "kubectl exec, attach")):
        x, y = centre[name]
        out.append(f'<text x="{x}" y="{y - 52}" text-anchor="middle" fill="#5b6875" font-size="13">{who}</text>')
        out.append(f'<path d="M{x} {y - 46} V{y - BOX_H / 2 - 3}" stroke="#9aa7b4" stroke-width="1.5" marker-end="url(#tip)"/>')
    out.append('<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
               '<path d="M0 0 L8 4 L0 8 z" fill="#9aa7b4"/></marker></defs>')
    for _, name, a, b, how in edges:
        (x1, y1), (x2, y2) = centre[a], centre[b]
        dash = ' stroke-dasharray="5 4"' if how == "SPAWNED" else ""
        if x1 == x2:
            side = x1 - BOX_W / 2
            path = f"M{side} {y1} C{side - 46} {y1} {side - 46} {y2} {side} {y2}"
        else:
            x1, x2 = (x1 + BOX_W / 2, x2 - BOX_W / 2) if x1 < x2 else (x1 - BOX_W / 2, x2 + BOX_W / 2)
            middle = (x1 + x2) / 2
            path = f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"
        out.append(f'<path d="{path}" fill="none" stroke="#7d8b99" stroke-width="1.5"{dash}><title>{escape(name)}</title></path>')
    x, y = centre["LINKD"]
    out.append(f'<path d="M{x + BOX_W / 2} {y} H{centre["LINKD_START"][0] - BOX_W / 2}" stroke="#b9c3cd" stroke-width="1.5" '
               'stroke-dasharray="2 3"/>')
    out.append(f'<text x="{x}" y="{y + 38}" text-anchor="middle" fill="#5b6875" font-size="12">'
               'wires every edge: one control channel to each process</text>')
    for ident, name, kind, _ in processes:
        x, y = centre[ident]
        fill, border = COLOURS[kind]
        out.append(f'<rect x="{x - BOX_W / 2}" y="{y - BOX_H / 2}" width="{BOX_W}" height="{BOX_H}" rx="7" fill="{fill}" '
                   f'stroke="{border}" stroke-width="1.4"/>')
        out.append(f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="#1b2733">{escape(name)}</text>')
    y = height - 26
    x = 24
    for kind, words in WORDS.items():
        fill, border = COLOURS[kind]
        out.append(f'<rect x="{x}" y="{y - 11}" width="14" height="14" rx="3" fill="{fill}" stroke="{border}"/>')
        out.append(f'<text x="{x + 21}" y="{y + 1}" font-size="12" fill="#3a4754">{escape(words)}</text>')
        x += 36 + 6.1 * len(words)
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    picture = draw()
    if "--check" in sys.argv:
        if open(PICTURE, encoding="utf-8").read() != picture:
            sys.exit("docs/processes.svg is not what ipc/topology.h says: run docs/picture.py")
        return
    with open(PICTURE, "w", encoding="utf-8") as f:
        f.write(picture)


main()
