"""Words and sentences that `planted_rows.py` puts together."""

from __future__ import annotations

Words = tuple[str, ...]


def _words(text: str) -> Words:
    return tuple(text.split())


THINGS = _words(
    "ledger violin harbour recipe schedule turbine garden map bridge library workshop lantern cellar orchard engine "
    "curtain letter market kettle staircase window archive river mill saddle barrel compass telescope notebook fence "
    "roof chimney carpet ladder basket clock tower anchor sail rudder oven pantry attic drawer hinge lock pulley crane "
    "quarry tunnel canal meadow forest island lighthouse ferry wagon tractor harvest seed root branch stem petal pollen "
    "hive swarm feather shell fossil crystal mineral furnace anvil chisel hammer saw plane drill valve pump pipe tank "
    "gauge meter dial switch cable fuse socket battery motor sensor lens mirror prism filter screen printer scanner "
    "keyboard folder index table column row record invoice receipt contract budget forecast survey sample chart graph "
    "curve slope axis margin header footer paragraph chapter stanza rhyme melody chord rhythm drum flute cello choir "
    "stage script scene costume canvas brush pigment sketch frame statue mosaic tile brick mortar beam plank nail screw "
    "bolt washer gear spring wheel axle brake pedal chain spoke tyre helmet glove boot coat scarf button needle thread "
    "loom wool linen dye stain soap sponge bucket broom mop shelf rack crate pallet forklift warehouse depot platform"
)
QUALITIES = _words(
    "old narrow quiet broken spare heavy wooden northern public modest uneven borrowed crowded distant early faded gentle "
    "hollow idle jagged keen loose mild neat odd pale rough shallow steep tidy upper vague warm young bright coarse damp "
    "even firm grey honest inner joint known late minor new open plain rare safe thin usual vast wide simple double final "
    "former general hidden initial local main natural outer partial recent second third unused weekly yearly annual brief "
    "central daily exact foreign growing handmade informal leading missing nearby ordinary pending regular seasonal"
)
DEEDS = _words(
    "check repair measure clean replace describe compare sort count weigh paint move open close lift turn mark label "
    "store dry heat cool rinse fill empty test adjust align balance cut join fold wrap tie loosen tighten polish sand "
    "scan copy print sign send keep return borrow rent buy sell plan draw note list group split merge shorten extend"
)
NAMES = _words(
    "Anna Boris Clara Dario Elena Felix Greta Hugo Irene Jonas Karin Leo Marta Nils Olga Paul Rosa Simon Tilda Ugo Vera "
    "Walter Xenia Yara Zeno Amir Bela Chloe Dmitri Esra Farid Gita Hana Ivo Jana Kofi Lina Mateo Nora Omar Petra Quinn"
)
PEOPLE = _words("neighbour teacher engineer gardener nurse baker clerk sailor tailor farmer driver painter mason cook")
PLACES = (
    "at home",
    "in town",
    "on site",
    "by the coast",
    "in the yard",
    "near the station",
    "upstairs",
    "in the north",
)
TIMES = (
    "in spring",
    "before noon",
    "after the rain",
    "twice a year",
    "every week",
    "by Friday",
    "at night",
    "last month",
)
GERMAN_THINGS = _words(
    "Haus Garten Fenster Brief Schrank Motor Kessel Bericht Vertrag Zaun Keller Fluss Turm Wagen Tisch"
)
GERMAN_DEEDS = _words(
    "prüfen reinigen ersetzen messen ordnen streichen heben drehen lagern kühlen füllen zählen falten"
)

SLOTS: dict[str, Words] = {
    "T": THINGS, "Q": QUALITIES, "D": DEEDS, "N": NAMES, "P": PEOPLE, "L": PLACES, "W": TIMES,
    "G": GERMAN_THINGS, "E": GERMAN_DEEDS, "#": tuple(map(str, range(2, 400))),
}  # fmt: skip

STATEMENTS = (
    "First {D} the {Q} {T}, then {D} the {T} next to it.",
    "The {P} from the {T} said that {#} of them are enough {L}.",
    "Most people {D} the {T} {W} and leave the {Q} {T} for later.",
    "If the {T} is {Q}, {D} it again before you {D} the {T}.",
    "{N} would rather {D} a {Q} {T} than wait for the {T}.",
    "A {Q} {T} costs about {#} and lasts longer than a {Q} one.",
    "Do not {D} the {T} while the {T} is still {Q}.",
    "You can {D} it {L}, but the {Q} {T} needs {#} minutes.",
    "What matters is that the {T} and the {T} stay {Q}.",
    "Ask the {P} to {D} the {T} {W}.",
    "There were {#} cases in which a {Q} {T} had to be sold {L}.",
    "It helps to {D} every {Q} {T} and to {D} what is left.",
    "The reason is simple: a {T} that is {Q} cannot carry the {T}.",
    "Between {#} and {#} is usual for a {Q} {T} {L}.",
    "Later {N} and the {P} will {D} the {Q} {T} together.",
    "Keep the {T} away from the {Q} {T}, or {D} both {W}.",
    "Nobody noticed the {Q} {T} until the {P} came to {D} it.",
    "This works for the {T} as well, only the {T} has to be {Q}.",
    "One {T} in {#} turns out to be {Q} when you {D} it.",
    "Put {#} of them beside the {Q} {T} and {D} the rest {W}.",
)
QUESTIONS = (
    "How do I {D} a {Q} {T} {L} when the {T} of {N} is {Q}?",
    "Why does the {Q} {T} near the {T} need {#} hours {W}, and can the {P} {D} it?",
    "Please {D} the {T} for {N}: it is {Q}, has {#} parts and a {Q} {T}.",
    "My {P} wants to {D} {#} {Q} things beside the {T} {W}. Is the {T} good enough?",
    "Explain to {N} what a {Q} {T} is for and how to {D} the {Q} {T} {L}.",
    "Should I {D} the {Q} {T} before or after {N} has used the {T} {#} times {W}?",
    "Which {T} is better for a {Q} {P} who has to {D} {#} of them {L}, near a {Q} {T}?",
    "{N} found a {Q} {T} {W} and asks whether the {T} can {D} it in {#} steps.",
)
GERMAN = (
    "Zuerst muss man den alten {G} gründlich {E}, danach ist der andere {G} an der Reihe.",
    "Meistens reicht es, wenn der {G} einmal im Jahr geprüft wird und nicht zu nass ist.",
    "Wer den {G} nicht {E} kann, sollte lieber jemanden fragen, der sich damit auskennt.",
    "Es gibt ungefähr {#} Möglichkeiten, aber keine davon ist für jeden {G} die richtige.",
    "Ohne den {G} ist es schwierig, alles wieder so zu {E}, wie es vorher gewesen ist.",
)
