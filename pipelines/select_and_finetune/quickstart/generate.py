"""Write the data of the quickstart: a pool with known defects, a target, held-out rows and an evaluation task.

The skills `arithmetic` and `conversion` are generated here from story templates, with every number computed; the other
six are read from `written/`. Everything is seeded, so the same sources give the same bytes:

    python pipelines/select_and_finetune/quickstart/generate.py            # write the files
    python pipelines/select_and_finetune/quickstart/generate.py --check    # exit 1 if they differ
"""

import argparse
import calendar
import json
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
SEED = "tamis-quickstart"

WRITTEN = ("code", "rewriting", "classification", "extraction", "everyday", "reasoning")
SKILLS = ("arithmetic", "conversion", *WRITTEN)
GENERATED_ROWS = 112  # of each generated skill, in the pool
TARGET_ROWS = 24
HELDOUT_ROWS = 60
TASK_ROWS = 80

SAME_SKILL_SWAPS = 7  # pairs of rows that exchange answers: one in each skill but classification, whose labels recur
CROSS_SKILL_SWAPS = 11
EMPTY_ROWS = 14
CUT_ROWS = 24
DUPLICATE_ROWS = 16
BLANKS = ("", " ", "\n")

RUN = 13  # no two generated arithmetic questions share this many words in a row


# --------------------------------------------------------------------------------------------------------------------
# Arithmetic that shows its work


class Reroll(Exception):
    """The numbers drawn do not make a good problem: draw again."""


@dataclass(frozen=True)
class Step:
    """One computed line such as `6 * 12 = 72`."""

    text: str
    value: str
    exact: Fraction

    def __str__(self) -> str:
        """The whole line, for use inside a sentence."""
        return self.text


def show(value: Fraction, money: bool = False) -> str:
    """A number as people write it; `Reroll` if it is negative or needs more than two decimals."""
    if value < 0 or 100 % value.denominator:
        raise Reroll(f"{value} is not clean")
    whole, hundredths = divmod(int(value * 100), 100)
    if not hundredths:
        text = str(whole)
    else:
        text = f"{whole}.{hundredths:02d}" if money else f"{whole}.{hundredths:02d}".rstrip("0")
    return f"${text}" if money else text


def usd(cents: int) -> str:
    """An amount of money: `$3` or `$3.50`."""
    return show(Fraction(cents, 100), money=True)


def work(expression: str) -> Step:
    """Compute `a op b op ...`, whose operators must bind equally; amounts of money carry a dollar sign."""
    tokens = expression.split()
    terms, operators = tokens[0::2], tokens[1::2]
    if not (set(operators) <= {"+", "-"} or set(operators) <= {"*", "/"}):
        raise ValueError(f"mixed operators: {expression}")
    numbers = [Fraction(term.removeprefix("$")) for term in terms]
    total = numbers[0]
    for operator, number in zip(operators, numbers[1:], strict=True):
        if operator == "+":
            total += number
        elif operator == "-":
            total -= number
        elif operator == "*":
            total *= number
        else:
            total /= number
    value = show(total, money="$" in expression and "/ $" not in expression)
    return Step(f"{expression} = {value}", value, total)


def chain(*expressions: str) -> tuple[Step, ...]:
    """Compute expressions in turn, where `_1`, `_2`, ... stand for the earlier results."""
    steps: list[Step] = []
    for expression in expressions:
        steps.append(work(re.sub(r"_(\d)", lambda match: steps[int(match[1]) - 1].value, expression)))
    return tuple(steps)


def need(condition: bool) -> None:
    """Draw again unless the condition holds."""
    if not condition:
        raise Reroll


@dataclass(frozen=True)
class Problem:
    """A generated question with its worked answer.

    Attributes:
        question: What is asked.
        solution: The sentences that work it out.
        answer: The last line says that this is the answer.
        context: The `input` of the row, if the question is about something given apart.
        right: The computation that gives the answer.
        wrong: Other computations that someone in a hurry might make, as expressions for `chain`.
        cast: The people and things in it.
    """

    question: str
    solution: str
    answer: str
    context: str = ""
    right: tuple[Step, ...] = ()
    wrong: tuple[tuple[str, ...], ...] = ()
    cast: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """The whole answer of the row."""
        return f"{self.solution}\nThe answer is {self.answer}."

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers in the question, sorted."""
        return tuple(sorted(re.findall(r"\d+(?:\.\d+)?", f"{self.question} {self.context}")))


# --------------------------------------------------------------------------------------------------------------------
# Words

IRREGULAR = {
    "bookshelf": "bookshelves",
    "child": "children",
    "foot": "feet",
    "goldfish": "goldfish",
    "goose": "geese",
    "grandchild": "grandchildren",
    "inch": "inches",
    "potato": "potatoes",
    "sheep": "sheep",
    "tomato": "tomatoes",
}


def s(noun: str) -> str:
    """The plural of a noun, formed on its last word."""
    head, _, last = noun.rpartition(" ")
    if last in IRREGULAR:
        last = IRREGULAR[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


def many(number: int | str, noun: str) -> str:
    """A number with its noun: `1 box`, `5 boxes`."""
    return f"{number} {noun if str(number) == '1' else s(noun)}"


def listed(parts: Sequence[str]) -> str:
    """Parts as `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def a_(noun: str) -> str:
    """A noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


@dataclass(frozen=True)
class Person:
    """Someone in a story, with the pronouns."""

    name: str
    they: str
    their: str

    def __str__(self) -> str:
        """The name."""
        return self.name

    @property
    def They(self) -> str:  # noqa: N802
        """The pronoun that opens a sentence."""
        return self.they.capitalize()


SHE = """Mara Aisha Lena Priya Sofia Hannah Chloe Yuki Fatima Ingrid Rosa Nadia Tess Olga Carmen Leila Maya Ruth Elif
Amina Beth Dina Esther Fiona Gina Helen Irene June Kira Zoe"""
HE = """Tom Omar Diego Kenji Marcus Viktor Samir Jonas Pablo Henry Arjun Felix Noah Ivan Peter Malik Theo Luca Walter
Anton Bruno Carl Dario Eric Farid George Hugo Ian Jack Emil"""
PEOPLE = [Person(name, "she", "her") for name in SHE.split()] + [Person(name, "he", "his") for name in HE.split()]

PACKS = """pack:pencil box:crayon bag:marble tray:muffin packet:sticker bundle:candle tin:cookie bag:lemon
case:water_bottle box:tea_bag pack:trading_card jar:button crate:orange box:envelope bag:balloon"""
TREASURES = """seashell marble stamp postcard badge coin comic_book toy_car sticker bead acorn trading_card key_ring
fossil magnet"""
GOODS = """notebook mug paintbrush flower_pot lunch_box water_bottle picture_frame cushion ruler sketch_pad soup_bowl
tea_towel tennis_ball candle puzzle"""
CROPS = "tomato_plant lettuce rose_bush cabbage sunflower pepper_plant strawberry_plant tulip bean_plant onion"


@dataclass
class Dice:
    """Draws the people, things and numbers of one problem and remembers the people and things."""

    rng: random.Random
    cast: list[str] = field(default_factory=list)

    def n(self, low: int, high: int, step: int = 1) -> int:
        """A whole number from `low` to `high`."""
        return self.rng.randrange(low, high + 1, step)

    def say(self, *options: T) -> T:
        """One of several wordings or constants, which is not remembered."""
        return self.rng.choice(options)

    def thing(self, words: str) -> str:
        """One word of a list in which underscores stand for spaces."""
        word = self.rng.choice([w.replace("_", " ") for w in words.split() if w.replace("_", " ") not in self.cast])
        self.cast.append(word)
        return word

    def pair(self, words: str) -> tuple[str, str]:
        """A container and what it holds, from a list of `container:thing`."""
        first, second = self.thing(words).split(":")
        return first, second

    def person(self) -> Person:
        """Someone who is not in the story yet."""
        person = self.rng.choice([p for p in PEOPLE if p.name not in self.cast])
        self.cast.append(person.name)
        return person


Template = Callable[[Dice], Problem]
ARITHMETIC: list[Template] = []
CONVERSION: list[Template] = []


def arithmetic(template: Template) -> Template:
    """Register a template of the skill `arithmetic`."""
    ARITHMETIC.append(template)
    return template


def conversion(template: Template) -> Template:
    """Register a template of the skill `conversion`."""
    CONVERSION.append(template)
    return template


def solved(question: str, solution: str, right: tuple[Step, ...], *wrong: tuple[str, ...]) -> Problem:
    """A problem whose answer is the result of the last step."""
    return Problem(question, solution, right[-1].value, right=right, wrong=wrong)


# --------------------------------------------------------------------------------------------------------------------
# Templates of the skill `arithmetic`


@arithmetic
def packs(d: Dice) -> Problem:
    """Packs bought, some of the content given away."""
    who, (pack, item) = d.person(), d.pair(PACKS)
    n, size, given = d.n(3, 9), d.n(6, 24), d.n(5, 30)
    right = total, left = chain(f"{n} * {size}", f"_1 - {given}")
    need(left.exact > 2)
    return solved(
        d.say(
            f"{who} buys {n} {s(pack)} with {size} {s(item)} in each {pack}. Then {who.they} gives {given} {s(item)} "
            f"to {who.their} neighbor. How many {s(item)} does {who.they} have left?",
            f"A {pack} holds {size} {s(item)}. {who} opens {n} {s(pack)} and hands out {given} of the {s(item)} at a "
            f"party. How many {s(item)} are left?",
        ),
        f"The {n} {s(pack)} hold {total} {s(item)} in all. After {given} of them are given away, {left} {s(item)} "
        "remain.",
        right,
        (f"{n} * {size}", f"_1 + {given}"),
        (f"{n} * {size}",),
        (f"{n} + {size}", f"_1 - {given}"),
        (f"{n} + {size}", f"_1 + {given}"),
    )


@arithmetic
def two_places(d: Dice) -> Problem:
    """The things in two places put together."""
    who, item = d.person(), d.thing(TREASURES)
    first, second = d.thing("drawer basket tin shoebox jar"), d.thing("suitcase cupboard backpack cabinet bucket")
    a, b = d.n(17, 89), d.n(16, 78)
    right = chain(f"{a} + {b}")
    return solved(
        d.say(
            f"{who} keeps {a} {s(item)} in a {first} and another {b} in a {second}. How many {s(item)} does {who.they} "
            f"own altogether?",
            f"There are {a} {s(item)} in {who}'s {first} and {b} {s(item)} in {who.their} {second}. What is the total "
            f"number of {s(item)}?",
        ),
        f"The {s(item)} are in two places, so add the two numbers. The {first} and the {second} together hold "
        f"{right[0]} {s(item)}.",
        right,
        (f"{max(a, b)} - {min(a, b)}",),
        (f"{a} + {b}", "_1 + 10"),
        (f"{a} + {a}",),
        (f"{b} + {b}",),
    )


@arithmetic
def change(d: Dice) -> Problem:
    """Several of one thing bought, paid with a note."""
    who, item = d.person(), d.thing(GOODS)
    n, price, note = d.n(3, 7), d.n(225, 975, 25), d.say(20, 50, 100)
    right = cost, back = chain(f"{n} * {usd(price)}", f"${note} - _1")
    need(back.exact >= 1)
    return solved(
        d.say(
            f"One {item} costs {usd(price)}. {who} buys {n} of them and pays with a ${note} bill. How much change does "
            f"{who.they} get?",
            f"{who} puts {n} {s(item)} priced at {usd(price)} each into {who.their} basket and hands the cashier "
            f"${note}. How much money does {who.they} get back?",
        ),
        f"The {n} {s(item)} cost {cost}. {who} pays ${note}, so the change is {back}.",
        right,
        (f"{n} * {usd(price)}",),
        (f"${note} - {usd(price)}",),
        (f"{n - 1} * {usd(price)}", f"${note} - _1"),
        (f"{n} * {usd(price)}", f"${note} + _1"),
    )


@arithmetic
def mixed_basket(d: Dice) -> Problem:
    """Two kinds of things bought at two prices."""
    who, item, other = d.person(), d.thing(GOODS), d.thing(GOODS)
    n, m, p, q = d.n(2, 8), d.n(2, 8), d.n(2, 12), d.n(3, 14)
    need(n != m and p != q)
    right = one, two, total = chain(f"{n} * ${p}", f"{m} * ${q}", "_1 + _2")
    return solved(
        d.say(
            f"At the market, {who} buys {n} {s(item)} for ${p} each and {m} {s(other)} for ${q} each. How much does "
            f"{who.they} spend in total?",
            f"A shop sells {s(item)} at ${p} and {s(other)} at ${q}. What do {n} {s(item)} and {m} {s(other)} cost "
            f"{who} together?",
        ),
        f"The {s(item)} cost {one} and the {s(other)} cost {two}. Together that is {total}.",
        right,
        (f"{n} * ${p}",),
        (f"{m} * ${q}",),
        (f"{n} + {m}", f"_1 * ${p}"),
        (f"{n} * ${q}", f"{m} * ${p}", "_1 + _2"),
        (f"${p} + ${q}",),
    )


@arithmetic
def fair_shares(d: Dice) -> Problem:
    """A number of things shared equally."""
    who, item = d.person(), d.thing(TREASURES)
    group = d.thing("cousin friend classmate neighbor teammate grandchild")
    people, share, kept = d.n(3, 9), d.n(4, 18), d.n(5, 19)
    total = people * share + kept
    right = rest, each = chain(f"{total} - {kept}", f"_1 / {people}")
    return solved(
        d.say(
            f"{who} has {total} {s(item)}. {who.They} keeps {kept} of them and divides the rest equally among {people} "
            f"{s(group)}. How many {s(item)} does each {group} get?",
            f"Out of {total} {s(item)}, {who} sets {kept} aside for later. {people} {s(group)} share the others "
            f"equally. How many {s(item)} are there for each {group}?",
        ),
        f"After {kept} are set aside, {rest} {s(item)} are left to share. Divided among {people} {s(group)}, that is "
        f"{each} {s(item)} each.",
        right,
        (f"{total} - {kept}",),
        (f"{total} / {people}",),
        (f"{total} + {kept}", f"_1 / {people}"),
        (f"{total} - {kept}", f"_1 - {people}"),
        (f"{total} - {people}",),
    )


@arithmetic
def full_boxes(d: Dice) -> Problem:
    """Things packed into boxes of one size, some left over."""
    who, item = d.person(), d.thing("egg peach jam_jar cupcake light_bulb pinecone brick plate glass")
    box = d.thing("box crate tray basket carton")
    n, size, rest = d.n(4, 9), d.n(6, 15), d.n(2, 9)
    need(rest < size)
    total = n * size + rest
    right = packed, left = chain(f"{n} * {size}", f"{total} - _1")
    return solved(
        d.say(
            f"{who} has {total} {s(item)} to pack. {who.They} fills {n} {s(box)} with {size} {s(item)} each. How many "
            f"{s(item)} are left over?",
            f"With {total} {s(item)} on the table, {who} fills {n} {s(box)}, and every {box} takes {size} {s(item)}. "
            f"How many {s(item)} do not fit in?",
        ),
        f"The {n} full {s(box)} take {packed} {s(item)}. That leaves {left} {s(item)} over.",
        right,
        (f"{n} * {size}",),
        (f"{total} - {size}",),
        (f"{n + 1} * {size}", f"_1 - {total}"),
        (f"{n} + {size}", f"{total} - _1"),
    )


@arithmetic
def piggy_bank(d: Dice) -> Problem:
    """Savings that grow by the same amount each week."""
    who = d.person()
    day = d.thing("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
    start, weekly, weeks = d.n(12, 85), d.n(4, 19), d.n(4, 16)
    right = saved, total = chain(f"{weeks} * ${weekly}", f"${start} + _1")
    return solved(
        d.say(
            f"{who} already has ${start} in a savings jar. Every {day} {who.they} adds ${weekly}. How much money is "
            f"in the jar after {weeks} weeks?",
            f"Each {day}, {who} puts ${weekly} into {who.their} piggy bank, which held ${start} at the start. How "
            f"much is in it {weeks} weeks later?",
        ),
        f"In {weeks} weeks {who} adds {saved}. With the ${start} from the start, that makes {total}.",
        right,
        (f"{weeks} * ${weekly}",),
        (f"${start} + ${weekly}",),
        (f"{weeks + 1} * ${weekly}", f"${start} + _1"),
        (f"${start} + ${weekly}", f"{weeks} * _1"),
    )


@arithmetic
def saving_goal(d: Dice) -> Problem:
    """How many weeks until there is enough money."""
    who, goal = d.person(), d.thing("bicycle tent keyboard telescope guitar camera skateboard jacket drum radio")
    start, weekly, weeks = d.n(15, 60), d.n(6, 18), d.n(4, 15)
    price = start + weekly * weeks
    right = missing, needed = chain(f"${price} - ${start}", f"_1 / ${weekly}")
    return solved(
        d.say(
            f"{who} wants a {goal} that costs ${price}. {who.They} has ${start} and saves ${weekly} a week. After how "
            f"many weeks can {who.they} buy it?",
            f"A {goal} costs ${price}. If {who} owns ${start} now and earns ${weekly} each week, how many weeks "
            f"must {who.they} work to afford it?",
        ),
        f"{who} still needs {missing}. At ${weekly} a week, that takes {needed} weeks.",
        right,
        (f"${price} / ${weekly}",),
        (f"${price} + ${start}", f"_1 / ${weekly}"),
        (f"${start} / ${weekly}",),
        (f"${price} - ${start}", f"_1 - ${weekly}", f"_2 / ${weekly}"),
        (f"${price} - ${start}", f"_1 + ${weekly}", f"_2 / ${weekly}"),
    )


@arithmetic
def times_as_many(d: Dice) -> Problem:
    """One has several times as many; both together."""
    who, other, item = d.person(), d.person(), d.thing(TREASURES)
    a, k = d.n(7, 29), d.n(3, 6)
    word = {3: "three", 4: "four", 5: "five", 6: "six"}[k]
    right = bigger, total = chain(f"{k} * {a}", f"{a} + _1")
    return solved(
        d.say(
            f"{who} has collected {a} {s(item)}, and {other} has {word} times as many. How many {s(item)} do they have "
            f"together?",
            f"{other} owns {word} times as many {s(item)} as {who}. If {who} owns {a}, how many do {who} and {other} "
            "own in all?",
        ),
        f"{other} has {word} times as many as {who}, which is {bigger} {s(item)}. Together they have {total} "
        f"{s(item)}.",
        right,
        (f"{k} * {a}",),
        (f"{a} + {k}",),
        (f"{a} + {k}", f"{a} + _1"),
        (f"{k} * {a}", f"_1 - {a}"),
        (f"{k} * {a}", "_1 + _1"),
    )


@arithmetic
def more_or_fewer(d: Dice) -> Problem:
    """One has more or fewer than the other; both together."""
    who, other, item = d.person(), d.person(), d.thing("apple mushroom pear chestnut plum shell pebble feather nut")
    a, diff = d.n(21, 64), d.n(6, 19)
    more = d.say(True, False)
    word, op, opposite = ("more", "+", "-") if more else ("fewer", "-", "+")
    right = second, total = chain(f"{a} {op} {diff}", f"{a} + _1")
    return solved(
        d.say(
            f"{who} picks up {a} {s(item)} on a walk. {other} picks up {diff} {word} than {who}. How many {s(item)} do "
            f"the two have together?",
            f"On a hike, {other} finds {diff} {word} {s(item)} than {who}, who finds {a}. How many {s(item)} do "
            "they find in total?",
        ),
        f"{other} has {diff} {word} than {who}, so {other} has {second} {s(item)}. Together they have {total} "
        f"{s(item)}.",
        right,
        (f"{a} {op} {diff}",),
        (f"{a} + {diff}",) if not more else (f"{a} + {a}",),
        (f"{a} {opposite} {diff}", f"{a} + _1"),
        (f"{a} {op} {diff}", f"_1 {op} {diff}"),
    )


@arithmetic
def pages_left(d: Dice) -> Problem:
    """Pages read at a daily pace; how many remain."""
    who, book = d.person(), d.thing("novel biography travel_book history_book fantasy_book detective_story")
    daily, days, rest = d.n(14, 38), d.n(4, 11), d.n(23, 140)
    total = daily * days + rest
    right = read, left = chain(f"{days} * {daily}", f"{total} - _1")
    return solved(
        d.say(
            f"{who} is reading a {book} of {total} pages at a pace of {daily} pages a day. How many pages are left "
            f"after {days} days?",
            f"A {book} has {total} pages. For {days} days, {who} reads {daily} pages every evening. How many pages "
            f"does {who.they} still have to read?",
        ),
        f"In {days} days {who} reads {read} pages. The {book} has {total} pages, so {left} pages are left.",
        right,
        (f"{days} * {daily}",),
        (f"{total} - {daily}",),
        (f"{days + 1} * {daily}", f"{total} - _1"),
        (f"{days} + {daily}", f"{total} - _1"),
    )


@arithmetic
def days_to_finish(d: Dice) -> Problem:
    """The days that the rest of a job takes."""
    who = d.person()
    job, unit = d.pair("fence:plank wall:tile quilt:square chain:link mosaic:stone blanket:patch roof:shingle")
    first, daily, days = d.n(15, 48), d.n(6, 16), d.n(4, 14)
    total = first + daily * days
    right = rest, needed = chain(f"{total} - {first}", f"_1 / {daily}")
    return solved(
        d.say(
            f"A {job} needs {total} {s(unit)}. {who} sets {first} {s(unit)} on the first day and {daily} on every day "
            f"after that. How many more days does {who.they} need?",
            f"{who} is making a {job} out of {total} {s(unit)}, and {first} are already in place. At {daily} "
            f"{s(unit)} a day, how many more days will {who.they} need?",
        ),
        f"After the first {first}, {rest} {s(unit)} are still to be placed. At {daily} a day, that takes {needed} "
        "days.",
        right,
        (f"{total} / {daily}",),
        (f"{total} + {first}", f"_1 / {daily}"),
        (f"{total} - {first}", f"_1 - {daily}"),
        (f"{total} - {first}", f"_1 - {daily}", f"_2 / {daily}"),
        (f"{total} - {first}", f"_1 + {daily}", f"_2 / {daily}"),
    )


@arithmetic
def garden_rows(d: Dice) -> Problem:
    """Plants in rows, some of them lost."""
    who, crop = d.person(), d.thing(CROPS)
    cause = d.thing("a_storm the_slugs a_rabbit the_frost a_goat")
    rows, per, lost = d.n(5, 14), d.n(6, 18), d.n(4, 22)
    right = planted, left = chain(f"{rows} * {per}", f"_1 - {lost}")
    need(left.exact > 2)
    return solved(
        d.say(
            f"{who} planted {rows} rows with {per} {s(crop)} in each row. During the night {cause} ruined {lost} of "
            f"them. How many {s(crop)} are still fine?",
            f"In {who}'s garden there were {rows} rows of {per} {s(crop)} until {cause} destroyed {lost} {s(crop)}. "
            f"How many {s(crop)} survived?",
        ),
        f"At first there were {planted} {s(crop)}. After losing {lost}, {left} {s(crop)} are left.",
        right,
        (f"{rows} * {per}",),
        (f"{rows} * {per}", f"_1 + {lost}"),
        (f"{rows} + {per}", f"_1 - {lost}"),
        (f"{rows} - 1", f"_1 * {per}", f"_2 - {lost}"),
    )


@arithmetic
def bus_stops(d: Dice) -> Problem:
    """Passengers who get off and on."""
    vehicle = d.thing("bus tram minibus trolley coach")
    stop = d.thing("market library river_bridge school museum station town_hall old_mill")
    start, off, on = d.n(26, 78), d.n(7, 24), d.n(4, 19)
    need(off != on)
    right = after, now = chain(f"{start} - {off}", f"_1 + {on}")
    return solved(
        d.say(
            f"A {vehicle} carries {start} passengers. At the {stop}, {off} people get off and {on} get on. How many "
            f"passengers are on the {vehicle} now?",
            f"When the {vehicle} reaches the {stop}, {off} of its {start} passengers leave and {on} new ones board. "
            f"How many passengers does the {vehicle} carry after the stop?",
        ),
        f"When {off} passengers leave, {after} are still on board. Then {on} more get on, which makes {now} "
        "passengers.",
        right,
        (f"{start} - {off}",),
        (f"{start} + {off}", f"_1 + {on}"),
        (f"{start} + {off}", f"_1 - {on}"),
        (f"{start} - {off}", f"_1 - {on}"),
        (f"{start} + {on}",),
    )


@arithmetic
def fence(d: Dice) -> Problem:
    """The perimeter of a rectangle."""
    who, place = d.person(), d.thing("garden playground pasture schoolyard chicken_run orchard vegetable_bed courtyard")
    length, width = d.n(12, 46), d.n(7, 28)
    need(length > width)
    right = half, around = chain(f"{length} + {width}", "2 * _1")
    return solved(
        d.say(
            f"A rectangular {place} is {length} meters long and {width} meters wide. {who} puts a fence around it. "
            "How many meters long is the fence?",
            f"{who} walks once around a rectangular {place} that measures {length} meters by {width} meters. How many "
            f"meters does {who.they} walk?",
        ),
        f"One long side and one short side make {half} meters. A rectangle has two of each, so the way around it is "
        f"{around} meters.",
        right,
        (f"{length} + {width}",),
        (f"{length} * {width}",),
        (f"2 * {length}", f"_1 + {width}"),
        (f"2 * {width}", f"_1 + {length}"),
    )


@arithmetic
def covering(d: Dice) -> Problem:
    """Bags or cans needed to cover an area."""
    who = d.person()
    place, stuff = d.pair(
        "lawn:bag_of_seed floor:can_of_varnish wall:can_of_paint field:sack_of_lime roof:roll_of_felt"
    )
    unit = stuff.split()[0]
    length, width, cover = d.n(6, 24), d.n(4, 15), d.n(4, 24)
    need(length > width and length * width % cover == 0 and length * width // cover > 2)
    right = area, needed = chain(f"{length} * {width}", f"_1 / {cover}")
    return solved(
        d.say(
            f"{who} has a {place} to treat that is {length} meters long and {width} meters wide. One {stuff} is "
            f"enough for {cover} square meters. How many {s(unit)} does {who.they} need?",
            f"One {stuff} covers {cover} square meters. How many {s(unit)} must {who} buy for a {place} of {length} "
            f"meters by {width} meters?",
        ),
        f"The area of the {place} is {area} square meters. Each {unit} covers {cover} square meters, so {who} needs "
        f"{needed} {s(unit)}.",
        right,
        (f"{length} + {width}", f"_1 / {cover}"),
        (f"{length} * {width}",),
        (f"{length} * {width}", f"_1 / {cover}", "_2 + 1"),
        (f"{length} * {width}", f"_1 / {cover}", "2 * _2"),
        (f"{length} * {width}", f"_1 - {cover}"),
    )


@arithmetic
def recipe(d: Dice) -> Problem:
    """A recipe made for more people."""
    who = d.person()
    dish, part = d.pair("soup:carrot omelet:egg salad:tomato stew:potato curry:onion smoothie:banana")
    serves, uses, k = d.n(2, 6), d.n(3, 9), d.n(3, 8)
    guests = serves * k
    need(serves != uses)
    right = times, total = chain(f"{guests} / {serves}", f"_1 * {uses}")
    return solved(
        d.say(
            f"{who}'s recipe for {a_(dish)} uses {uses} {s(part)} and serves {serves} people. How many {s(part)} "
            f"does {who.they} need for {guests} people?",
            f"To serve {serves} people, {a_(dish)} takes {uses} {s(part)}. {who} cooks for {guests} guests. How many "
            f"{s(part)} will {who.they} use?",
        ),
        f"The recipe has to be made {times} times. Each time takes {uses} {s(part)}, so {who} needs {total} {s(part)}.",
        right,
        (f"{guests} / {serves}",),
        (f"{guests} * {uses}",),
        (f"{guests} - {serves}", f"_1 + {uses}"),
        (f"{guests} / {serves}", f"_1 + {uses}"),
        (f"{guests} / {uses}", f"_1 * {serves}"),
    )


@arithmetic
def trip(d: Dice) -> Problem:
    """Distance covered at a speed; how much is left."""
    who, how = d.person(), d.pair("van:drives car:drives bicycle:rides motorbike:rides truck:drives scooter:rides")
    slow = how[0] in ("bicycle", "scooter")
    speed, hours, rest = (d.n(9, 18) if slow else d.n(38, 68)), d.n(2, 6), (d.n(6, 40) if slow else d.n(25, 160))
    total = speed * hours + rest
    right = done, left = chain(f"{hours} * {speed}", f"{total} - _1")
    return solved(
        d.say(
            f"{who} {how[1]} a {how[0]} at {speed} miles per hour for {hours} hours. The whole trip is {total} miles "
            "long. How many miles are left?",
            f"A trip of {total} miles lies ahead of {who}, who {how[1]} a {how[0]} at a steady {speed} miles per "
            f"hour. How many miles remain after {hours} hours?",
        ),
        f"In {hours} hours {who} covers {done} miles. That leaves {left} miles to go.",
        right,
        (f"{hours} * {speed}",),
        (f"{total} - {speed}",),
        (f"{hours} - 1", f"_1 * {speed}", f"{total} - _2"),
        (f"{hours} + {speed}", f"{total} - _1"),
    )


@arithmetic
def wages(d: Dice) -> Problem:
    """Hours worked on two days at one wage."""
    who, place = d.person(), d.thing("bakery garage farm bookshop cafe laundry hotel nursery pharmacy")
    day, other = d.say(("Monday", "Thursday"), ("Friday", "Saturday"), ("Tuesday", "Sunday"))
    wage, a, b = d.n(11, 24), d.n(3, 9), d.n(2, 8)
    need(a != b)
    right = hours, pay = chain(f"{a} + {b}", f"_1 * ${wage}")
    return solved(
        d.say(
            f"{who} earns ${wage} an hour at a {place}. {who.They} works {a} hours on {day} and {b} hours on {other}. "
            f"How much does {who.they} earn on these two days?",
            f"On {day} {who} helps {a} hours at a {place}, and on {other} {b} hours. The pay is ${wage} per hour. How "
            f"much money does {who.they} make?",
        ),
        f"{who} works {hours} hours in all. At ${wage} an hour, that pays {pay}.",
        right,
        (f"{a} * ${wage}",),
        (f"{b} * ${wage}",),
        (f"{a} * {b}", f"_1 * ${wage}"),
        (f"{a} + {b}", "_1 + 1", f"_2 * ${wage}"),
        (f"{abs(a - b)} * ${wage}",),
    )


@arithmetic
def discount(d: Dice) -> Problem:
    """A price cut by a percentage."""
    who, item = d.person(), d.thing("coat backpack lamp chair tent rug blender watch suitcase bookshelf")
    price, percent = d.n(20, 180, 4), d.say(5, 10, 15, 20, 25, 30, 40, 50)
    right = off, pays = chain(f"${price} * {percent} / 100", f"${price} - _1")
    return solved(
        d.say(
            f"A {item} normally costs ${price}. Today it is {percent}% off. How much does {who} pay for the {item} "
            "today?",
            f"{who} buys a {item} in the sale. The old price was ${price}, and the shop takes {percent}% off. What is "
            "the new price?",
        ),
        f"The discount is {off}. Taking it off the old price gives {pays}.",
        right,
        (f"${price} * {percent} / 100",),
        (f"${price} * {percent} / 100", f"${price} + _1"),
        (f"${price} - ${percent}",) if price > percent else (f"${price} + ${percent}",),
        (f"${price} * {percent} / 100", "2 * _1", f"${price} - _2"),
    )


@arithmetic
def thermometer(d: Dice) -> Problem:
    """A temperature that rises and falls."""
    town = d.thing("Oslo Denver Lima Cairo Zurich Kyoto Perth Quito Tunis Riga Austin Bergen")
    start, up, down = d.n(38, 62), d.n(9, 25), d.n(5, 21)
    need(up != down)
    right = noon, night = chain(f"{start} + {up}", f"_1 - {down}")
    return solved(
        d.say(
            f"At sunrise it is {start} degrees in {town}. By noon the temperature has gone up by {up} degrees, and by "
            f"evening it has dropped by {down}. What is the temperature in the evening?",
            f"The thermometer in {town} shows {start} degrees in the morning. It climbs {up} degrees until lunch and "
            f"then falls {down} degrees until night. What does it show at night?",
        ),
        f"First the temperature rises to {noon} degrees. Then it falls to {night} degrees.",
        right,
        (f"{start} + {up}",),
        (f"{start} - {down}",),
        (f"{start} + {up}", f"_1 + {down}"),
        (f"{start} - {up}", f"_1 + {down}"),
    )


@arithmetic
def ages(d: Dice) -> Problem:
    """How old someone will be."""
    who, other = d.person(), d.person()
    kin = d.thing("cousin teacher neighbor coach doctor")
    young, gap, later = d.n(6, 15), d.n(13, 38), d.n(3, 12)
    right = now, then = chain(f"{young} + {gap}", f"_1 + {later}")
    return solved(
        d.say(
            f"{who} is {young} years old. {who}'s {kin}, {other}, is {gap} years older. How old will {other} be in "
            f"{later} years?",
            f"{other} is the {kin} of {who} and {gap} years older than {who}, who is {young} now. How old will "
            f"{other} be {later} years from now?",
        ),
        f"Today {other} is {now} years old. In {later} years {other} will be {then} years old.",
        right,
        (f"{young} + {gap}",),
        (f"{young} + {later}",),
        (f"{gap} + {later}",),
        (f"{gap} - {young}", f"_1 + {later}"),
        (f"{young} + {gap}", f"_1 - {later}"),
    )


@arithmetic
def average(d: Dice) -> Problem:
    """The mean of three numbers."""
    who = d.person()
    game, unit = d.pair(
        "quiz:point darts_game:point bowling_game:pin card_game:point trivia_game:point board_game:point"
    )
    a, b, c = d.n(12, 58), d.n(12, 58), d.n(12, 58)
    need((a + b + c) % 3 == 0 and len({a, b, c}) == 3)
    right = total, mean = chain(f"{a} + {b} + {c}", "_1 / 3")
    need(mean.value not in (str(a), str(b), str(c)))
    return solved(
        d.say(
            f"In three rounds of a {game}, {who} gets {a}, {b} and {c} {s(unit)}. What is {who.their} average per "
            "round?",
            f"{who} plays a {game} three times and scores {a}, {b} and {c} {s(unit)}. What is the average of these "
            "scores?",
        ),
        f"The three scores add up to {total} {s(unit)}. Divided by the 3 rounds, the average is {mean} {s(unit)}.",
        right,
        (f"{a} + {b} + {c}",),
        (f"{a} + {b} + {c}", "_1 / 2"),
        (f"{a} + {b}", "_1 / 2"),
        (f"{b} + {c}", "_1 / 2"),
        (f"{max(a, b, c)} - {min(a, b, c)}",),
    )


@arithmetic
def a_part_of(d: Dice) -> Problem:
    """A fraction of a group; how many are not in it."""
    group, one = d.pair("choir:singer class:student club:member orchestra:player office:worker camp:child hotel:guest")
    trait = d.thing("wear_glasses own_a_bicycle speak_Spanish play_chess have_a_dog walk_home drink_tea like_opera")
    k, share = d.n(3, 8), d.n(4, 17)
    word = {3: "third", 4: "quarter", 5: "fifth", 6: "sixth", 7: "seventh", 8: "eighth"}[k]
    total = k * share
    right = some, rest = chain(f"{total} / {k}", f"{total} - _1")
    article = "an" if word == "eighth" else "a"
    return solved(
        d.say(
            f"There are {total} {s(one)} in {a_(group)}. Exactly {article} {word} of them "
            f"{trait}. How many {s(one)} do not {trait}?",
            f"{article.capitalize()} {word} of the {total} {s(one)} in {a_(group)} {trait}. How many of the {s(one)} "
            f"do not {trait}?",
        ),
        f"{article.capitalize()} {word} of {total} is {some}. So {rest} {s(one)} do not {trait}.",
        right,
        (f"{total} / {k}",),
        (f"{total} - {k}",),
        (f"{total} / {k}", f"{total} + _1"),
        (f"{total} / {k}", f"_1 - {k}") if share > k else (f"{total} / {k}", f"_1 + {k}"),
    )


@arithmetic
def tickets(d: Dice) -> Problem:
    """A family buys tickets at two prices and has a voucher."""
    who = d.person()
    place = d.thing("zoo circus water_park science_museum aquarium castle puppet_theater ice_rink")
    adults, kids, p, q = d.n(2, 5), d.n(2, 7), d.n(11, 24), d.n(4, 10)
    off = d.n(3, 12)
    right = big, small, pays = chain(f"{adults} * ${p}", f"{kids} * ${q}", f"_1 + _2 - ${off}")
    return solved(
        d.say(
            f"Tickets for the {place} cost ${p} for adults and ${q} for children. {who} pays for {adults} adults and "
            f"{kids} children and uses a voucher for ${off}. How much does {who.they} pay?",
            f"{who} takes {adults} adults and {kids} children to the {place}. An adult pays ${p}, a child pays ${q}, "
            f"and a coupon takes ${off} off the total. What is the bill?",
        ),
        f"The adults cost {big} and the children {small}. Together, less the ${off}, that is {pays}.",
        right,
        (f"{adults} * ${p}", f"{kids} * ${q}", "_1 + _2"),
        (f"{adults} * ${p}", f"{kids} * ${q}", f"_1 + _2 + ${off}"),
        (f"{adults} * ${q}", f"{kids} * ${p}", f"_1 + _2 - ${off}"),
        (f"{adults} * ${p}", f"_1 - ${off}"),
    )


@arithmetic
def legs(d: Dice) -> Problem:
    """Legs of two kinds of animals."""
    who = d.person()
    bird, beast = d.thing("hen duck goose turkey peacock"), d.thing("goat sheep cow rabbit pony donkey")
    birds, beasts = d.n(6, 28), d.n(4, 19)
    need(birds != beasts)
    right = two, four, total = chain(f"{birds} * 2", f"{beasts} * 4", "_1 + _2")
    return solved(
        d.say(
            f"On {who}'s farm there are {birds} {s(bird)} and {beasts} {s(beast)}. How many legs do these animals have "
            f"in total?",
            f"{who} looks after {birds} {s(bird)} and {beasts} {s(beast)}. If {who.they} counts all their legs, what "
            f"number does {who.they} get?",
        ),
        f"Each of the {s(bird)} has 2 legs, which makes {two} legs. Each of the {s(beast)} has 4 legs, which makes "
        f"{four} legs. In all there are {total} legs.",
        right,
        (f"{birds} + {beasts}",),
        (f"{birds} + {beasts}", "_1 * 2"),
        (f"{birds} + {beasts}", "_1 * 4"),
        (f"{birds} * 4", f"{beasts} * 2", "_1 + _2"),
    )


@arithmetic
def machine(d: Dice) -> Problem:
    """A machine that works some hours a day for some days."""
    item = d.thing("bottle pen bolt sock pretzel tile candle brush toy_train paper_bag")
    place = d.thing("factory workshop plant mill")
    rate, hours, days = d.n(12, 45), d.n(4, 9), d.n(3, 6)
    need(hours != days)
    right = daily, total = chain(f"{rate} * {hours}", f"_1 * {days}")
    return solved(
        d.say(
            f"A machine in a {place} makes {rate} {s(item)} per hour and runs {hours} hours a day. How many {s(item)} "
            f"does it make in {days} days?",
            f"For {days} days, a {place} runs a machine {hours} hours per day. The machine turns out {rate} {s(item)} "
            f"every hour. How many {s(item)} is that in all?",
        ),
        f"In one day the machine makes {daily} {s(item)}. In {days} days it makes {total} {s(item)}.",
        right,
        (f"{rate} * {hours}",),
        (f"{rate} * {days}",),
        (f"{hours} + {days}", f"_1 * {rate}"),
        (f"{rate} * {hours}", f"_1 + {days}"),
        (f"{rate} * {hours}", f"{days} - 1", "_1 * _2"),
    )


@arithmetic
def water_tank(d: Dice) -> Problem:
    """A tank that is filled and drained at the same time."""
    who, tank = d.person(), d.thing("pool tank pond barrel cistern trough")
    start, flow, leak, minutes = d.n(40, 200, 5), d.n(9, 25), d.n(2, 8), d.n(5, 20)
    right = net, gain, total = chain(f"{flow} - {leak}", f"{minutes} * _1", f"{start} + _2")
    return solved(
        d.say(
            f"A {tank} holds {start} liters of water. Every minute {who} lets {flow} liters flow in, but {leak} "
            f"liters leak out. How many liters are in the {tank} after {minutes} minutes?",
            f"{who} fills a {tank} that already contains {start} liters. Each minute {flow} liters run in and {leak} "
            f"liters run out. How many liters does it contain {minutes} minutes later?",
        ),
        f"Each minute the {tank} gains {net} liters. In {minutes} minutes it gains {gain} liters, so then it holds "
        f"{total} liters.",
        right,
        (f"{flow} - {leak}", f"{minutes} * _1"),
        (f"{minutes} * {flow}", f"{start} + _1"),
        (f"{flow} + {leak}", f"{minutes} * _1", f"{start} + _2"),
        (f"{flow} - {leak}", f"{start} + _1"),
    )


@arithmetic
def teams(d: Dice) -> Problem:
    """Two groups put together and divided into teams."""
    sport = d.thing("soccer volleyball relay hockey rowing basketball quiz chess")
    school, other = d.person(), d.person()
    size, count, a = d.n(4, 11), d.n(4, 12), d.n(11, 49)
    b = size * count - a
    need(b > 9 and a != b)
    right = total, made = chain(f"{a} + {b}", f"_1 / {size}")
    return solved(
        d.say(
            f"For a {sport} day, coach {school} brings {a} players and coach {other} brings {b}. They form teams of "
            f"{size} players. How many teams are there?",
            f"{school} signs up {a} players for a {sport} tournament, {other} signs up {b}, and every team has {size} "
            f"players. How many teams can they make?",
        ),
        f"Together there are {total} players. In teams of {size}, that makes {made} teams.",
        right,
        (f"{a} + {b}",),
        (f"{a} + {b}", f"_1 - {size}"),
        (f"{a} + {b}", f"_1 / {size}", "_2 + 1"),
        (f"{a} + {b}", f"_1 / {size}", "_2 - 1"),
        (f"{max(a, b)} - {min(a, b)}",),
    )


@arithmetic
def seats(d: Dice) -> Problem:
    """Seats in rows, some empty."""
    venue = d.thing("theater cinema concert_hall lecture_hall circus_tent courtroom school_hall church")
    event = d.thing("Friday Saturday Sunday Monday Tuesday Thursday")
    rows, per, empty = d.n(7, 19), d.n(8, 24), d.n(6, 45)
    right = total, taken = chain(f"{rows} * {per}", f"_1 - {empty}")
    need(taken.exact > 2)
    return solved(
        d.say(
            f"A {venue} has {rows} rows of {per} seats. On {event} evening {empty} seats stayed empty. How many seats "
            "were taken?",
            f"On {event} all but {empty} seats of a {venue} were filled. The {venue} has {rows} rows with {per} seats "
            "each. How many people had a seat?",
        ),
        f"The {venue} has {total} seats in all. With {empty} of them empty, {taken} seats were taken.",
        right,
        (f"{rows} * {per}",),
        (f"{rows} * {per}", f"_1 + {empty}"),
        (f"{rows} + {per}", f"_1 + {empty}"),
        (f"{rows} + 1", f"_1 * {per}", f"_2 - {empty}"),
    )


@arithmetic
def trading(d: Dice) -> Problem:
    """A collection that grows, shrinks and grows."""
    who, other, item = d.person(), d.person(), d.thing(TREASURES)
    start, bought, away, back = d.n(24, 88), d.n(6, 29), d.n(7, 26), d.n(3, 12)
    need(away != back)
    right = chain(f"{start} + {bought}", f"_1 - {away}", f"_2 + {back}")
    return solved(
        d.say(
            f"{who} had {start} {s(item)} and bought {bought} more. Then {who.they} traded {away} of them to {other} "
            f"for {back} rare ones. How many {s(item)} does {who} have now?",
            f"To {who.their} {start} {s(item)}, {who} adds {bought} new ones. {other} then takes {away} of them and "
            f"gives {back} in return. How many {s(item)} does {who} own in the end?",
        ),
        f"With the new ones, {who} has {right[0]} {s(item)}. Without the {away} that go to {other}, there are "
        f"{right[1]}. Adding the {back} that come back gives {right[2]}.",
        right,
        (f"{start} + {bought}", f"_1 - {away}"),
        (f"{start} + {bought}", f"_1 + {away}", f"_2 + {back}"),
        (f"{start} + {bought}", f"_1 - {away}", f"_2 - {back}"),
        (f"{start} - {away}", f"_1 + {back}"),
    )


@arithmetic
def monthly_budget(d: Dice) -> Problem:
    """Money left after a regular expense."""
    who, item = d.person(), d.thing("coffee sandwich bus_ticket smoothie bagel newspaper tram_ticket salad")
    budget, price, days = d.n(40, 140, 5), d.n(150, 650, 25), d.n(6, 18)
    right = spent, left = chain(f"{days} * {usd(price)}", f"${budget} - _1")
    need(left.exact >= 2)
    return solved(
        d.say(
            f"{who} has ${budget} for the month and buys a {item} for {usd(price)} on {days} days. How much money does "
            f"{who.they} have left?",
            f"A {item} costs {usd(price)}. {who} gets one on {days} days and started out with ${budget}. How many "
            "dollars are left?",
        ),
        f"On {days} days {who} spends {spent}. From ${budget}, that leaves {left}.",
        right,
        (f"{days} * {usd(price)}",),
        (f"${budget} - {usd(price)}",),
        (f"{days + 1} * {usd(price)}", f"${budget} - _1"),
        (f"{days - 1} * {usd(price)}", f"${budget} - _1"),
        (f"{days} * {usd(price)}", f"${budget} + _1"),
    )


@arithmetic
def back_to_the_start(d: Dice) -> Problem:
    """The number before two changes, from the number after them."""
    who = d.person()
    item = d.thing("goldfish sheep pigeon book plant bottle chair sweater")
    place = d.thing("shop storeroom attic stall shed club")
    sold, got, now = d.n(9, 39), d.n(5, 28), d.n(31, 95)
    need(sold != got and now > got + 3)
    right = before, first = chain(f"{now} - {got}", f"_1 + {sold}")
    return solved(
        d.say(
            f"This morning {who} sold {sold} {s(item)} from {who.their} {place}, and this afternoon {got} new "
            f"{s(item)} came in. Now there are {now}. How many {s(item)} were there at first?",
            f"After {who} gave away {sold} {s(item)} and then received {got}, {who.their} {place} has {now} "
            f"{s(item)}. How many {s(item)} did it have at the beginning?",
        ),
        f"Go backward from the end. Before the {got} came in there were {before} {s(item)}. Before the {sold} went "
        f"out there were {first}.",
        right,
        (f"{now} - {got}",),
        (f"{now} + {got}", f"_1 - {sold}"),
        (f"{now} + {got}", f"_1 + {sold}"),
        (f"{now} + {sold}",),
        (f"{now} - {sold}",),
    )


@arithmetic
def stairs(d: Dice) -> Problem:
    """Steps climbed several times a day."""
    who, tower = d.person(), d.thing("lighthouse church_tower office_block castle_tower apartment_house bell_tower")
    floors, per, trips = d.n(3, 12), d.n(11, 24), d.n(2, 6)
    right = once, total = chain(f"{floors} * {per}", f"_1 * {trips}")
    return solved(
        d.say(
            f"The stairs of {a_(tower)} have {floors} flights with {per} steps each. {who} climbs to the top {trips} "
            f"times. How many steps does {who.they} climb?",
            f"To reach the top of {a_(tower)}, {who} goes up {floors} flights of {per} steps. How many steps does "
            f"{who.they} climb if {who.they} goes up {trips} times?",
        ),
        f"Going up once takes {once} steps. Going up {trips} times takes {total} steps.",
        right,
        (f"{floors} * {per}",),
        (f"{floors} + {per}", f"_1 * {trips}"),
        (f"{floors} * {per}", f"_1 + {trips}"),
        (f"{floors} - 1", f"_1 * {per}", f"_2 * {trips}"),
    )


@arithmetic
def club_trip(d: Dice) -> Problem:
    """A cost shared by those who go along."""
    who, place = d.person(), d.thing("lake coast mountains capital vineyard caves hot_springs national_park")
    rent, fuel, people = d.n(90, 320, 5), d.n(20, 95, 5), d.n(4, 12)
    need((rent + fuel) % people == 0 and (rent + fuel) // people not in (rent, fuel))
    right = total, each = chain(f"${rent} + ${fuel}", f"_1 / {people}")
    return solved(
        d.say(
            f"For a trip to the {place}, {who} rents a van for ${rent} and buys gas for ${fuel}. All {people} "
            "travelers share the cost. How much does each one pay?",
            f"A group of {people}, {who} among them, goes to the {place}. The van costs ${rent}, the gas costs "
            f"${fuel}, and all {people} pay the same. What is the share of each person?",
        ),
        f"The van and the gas cost {total} together. Shared by {people} people, that is {each} each.",
        right,
        (f"${rent} / {people}",),
        (f"${rent} + ${fuel}",),
        (f"${rent} - ${fuel}", f"_1 / {people}"),
        (f"${rent} + ${fuel}", f"_1 - ${people}"),
        (f"${rent} + ${fuel}", f"_1 / {people}", "_2 + $1"),
        (f"${rent} + ${fuel}", f"_1 / {people}", "_2 - $1"),
    )


@arithmetic
def bouquets(d: Dice) -> Problem:
    """How many sets can be made and what they bring in."""
    who = d.person()
    flower, bunch = d.pair("rose:bouquet tulip:bunch daisy:wreath lily:bouquet carnation:bunch")
    size, count, price = d.n(4, 12), d.n(5, 14), d.n(5, 18)
    total = size * count
    right = made, money = chain(f"{total} / {size}", f"_1 * ${price}")
    return solved(
        d.say(
            f"{who} has {total} {s(flower)} and puts {size} into each {bunch}. {who.They} sells every {bunch} for "
            f"${price}. How much money does {who.they} take in?",
            f"With {size} {s(flower)} to a {bunch}, {who} uses up {total} {s(flower)}. Each {bunch} sells for "
            f"${price}. How much does {who.they} earn by selling them all?",
        ),
        f"The flowers are enough for {made} {s(bunch)}. Sold at ${price} each, they bring in {money}.",
        right,
        (f"{total} * ${price}",),
        (f"{size} * ${price}",),
        (f"{total} - {size}", f"_1 * ${price}"),
        (f"{total} / {size}", "_1 + 1", f"_2 * ${price}"),
        (f"{total} / {size}", "_1 - 1", f"_2 * ${price}"),
    )


# --------------------------------------------------------------------------------------------------------------------
# Templates of the skill `conversion`: units, durations, clocks and the calendar

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def on(day: date) -> str:
    """A date in words: `March 14, 2025`."""
    return f"{MONTHS[day.month - 1]} {day.day}, {day.year}"


def days_in(day: date) -> int:
    """The number of days of the month of a date."""
    return calendar.monthrange(day.year, day.month)[1]


def clock(minute: int) -> str:
    """A minute of the day on a twelve-hour clock: `6:45 PM`."""
    hour, rest = divmod(minute, 60)
    return f"{(hour + 11) % 12 + 1}:{rest:02d} {'AM' if hour < 12 else 'PM'}"


def some_day(d: Dice, low: int = 1, high: int = 28) -> date:
    """A date between 2019 and 2027 whose day of the month is in the range."""
    return date(d.n(2019, 2027), d.n(1, 12), d.n(low, high))


def span(hours: int | str, minutes: int | str) -> str:
    """A duration such as `2 hours and 5 minutes`, without parts that are zero."""
    parts = [many(n, unit) for n, unit in ((hours, "hour"), (minutes, "minute")) if str(n) != "0"]
    return " and ".join(parts)


@conversion
def metric(d: Dice) -> Problem:
    """A metric unit turned into a smaller or larger one."""
    big, small, factor = d.say(
        ("kilometer", "meter", 1000),
        ("kilogram", "gram", 1000),
        ("liter", "milliliter", 1000),
        ("meter", "centimeter", 100),
        ("centimeter", "millimeter", 10),
    )
    amount = Fraction(d.n(11, 995), 100 if factor > 10 else 10)
    need(amount.denominator > 1)
    down = d.say(True, False)
    value = show(amount) if down else show(amount * factor)
    source, goal = (big, small) if down else (small, big)
    (step,) = chain(f"{value} {'*' if down else '/'} {factor}")
    ask = d.say(
        (f"Convert the measurement to {s(goal)} and show how you get there.", f"{value} {s(source)}"),
        (f"How many {s(goal)} are {value} {s(source)}?", ""),
        (f"Express {value} {s(source)} in {s(goal)}.", ""),
    )
    rule = "multiply by" if down else "divide by"
    return Problem(
        ask[0],
        f"One {big} is {factor} {s(small)}. To go from {s(source)} to {s(goal)}, {rule} {factor}: {step}.",
        f"{step.value} {s(goal)}",
        context=ask[1],
    )


@conversion
def glasses(d: Dice) -> Problem:
    """Portions of one size from a larger vessel."""
    size, count = d.say(100, 125, 150, 200, 250, 300), d.n(5, 24)
    need(size * count % 100 == 0)
    vessel, drink = d.pair("jug:lemonade pot:tea barrel:cider bucket:water kettle:soup bowl:punch canister:milk")
    liters = show(Fraction(size * count, 1000))
    need(liters != "1")
    total, portions = chain(f"{liters} * 1000", f"_1 / {size}")
    return Problem(
        d.say(
            f"{a_(vessel).capitalize()} holds {liters} liters of {drink}. How many cups of {size} milliliters can be "
            "filled from it?",
            f"How many {size} ml portions are there in {liters} liters of {drink}?",
        ),
        f"One liter is 1000 milliliters, so {liters} liters are {total} milliliters. Each portion takes {size} "
        f"milliliters, which gives {portions} portions.",
        portions.value,
    )


@conversion
def hours_to_minutes(d: Dice) -> Problem:
    """Hours and minutes as minutes."""
    what = d.thing("concert flight meeting movie hike play train_ride football_match exam dinner")
    hours, minutes = d.n(2, 9), d.n(4, 56)
    full, total = chain(f"{hours} * 60", f"_1 + {minutes}")
    return Problem(
        d.say(
            f"{a_(what).capitalize()} lasts {span(hours, minutes)}. How many minutes is that?",
            f"How many minutes does {a_(what)} of {span(hours, minutes)} take?",
        ),
        f"One hour has 60 minutes, so {hours} hours are {full} minutes. Add the other {minutes}: {total} minutes.",
        f"{total.value} minutes",
    )


@conversion
def minutes_to_hours(d: Dice) -> Problem:
    """Minutes as hours and minutes."""
    who = d.person()
    what = d.thing("practicing_piano painting_a_door cleaning_the_attic baking_bread repairing_a_bike reading")
    minutes = d.n(122, 520)
    hours, rest = divmod(minutes, 60)
    need(rest > 1)
    full, left = chain(f"{hours} * 60", f"{minutes} - _1")
    return Problem(
        d.say(
            f"{who} spent {minutes} minutes {what}. Give this time in hours and minutes.",
            f"Write {minutes} minutes as hours and minutes.",
        ),
        f"{hours} hours are {full} minutes, the most that fits. "
        f"Then {left} minutes are left.",
        span(hours, rest),
    )


@conversion
def end_time(d: Dice) -> Problem:
    """When something that starts at a time ends."""
    what = d.thing("movie lecture concert play match workshop train_ride ceremony tour class")
    start, length = d.n(8 * 60, 18 * 60, 5), d.n(125, 235, 5)
    hours, rest = divmod(length, 60)
    need(rest > 0 and start + length < 23 * 60)
    middle = start + hours * 60
    full, left = chain(f"{hours} * 60", f"{length} - _1")
    return Problem(
        d.say(
            f"{a_(what).capitalize()} starts at {clock(start)} and lasts {length} minutes. At what time does it end?",
            f"If {a_(what)} of {length} minutes begins at {clock(start)}, when is it over?",
        ),
        f"{hours} hours are {full} minutes and {left} minutes remain. "
        f"{many(hours, 'hour').capitalize()} after {clock(start)} it is {clock(middle)}. {rest} minutes later it is "
        f"{clock(middle + rest)}.",
        clock(start + length),
    )


@conversion
def elapsed(d: Dice) -> Problem:
    """The time between two times of a day."""
    who = d.person()
    first, second = d.say(("leaves home", "gets back"), ("starts work", "stops"), ("boards a train", "gets off"))
    start = d.n(7 * 60, 15 * 60, 5)
    end = start + d.n(95, 430, 5)
    hours, rest = divmod(end - start, 60)
    need(rest > 0)
    middle = start + hours * 60
    return Problem(
        d.say(
            f"{who} {first} at {clock(start)} and {second} at {clock(end)}. How much time passes in between?",
            f"How long is it from {clock(start)} to {clock(end)} on the same day?",
        ),
        f"From {clock(start)} to {clock(middle)} it is {many(hours, 'hour')}. From {clock(middle)} to {clock(end)} it "
        f"is another {many(rest, 'minute')}.",
        span(hours, rest),
    )


@conversion
def full_clock(d: Dice) -> Problem:
    """A time of the afternoon on the 24-hour clock, or back."""
    hour, minute = d.n(13, 23), d.n(0, 59)
    short, long = clock(hour * 60 + minute), f"{hour}:{minute:02d}"
    if d.say(True, False):
        (step,) = chain(f"{hour - 12} + 12")
        ask = d.say(("Rewrite this time in 24-hour format.", short), (f"What is {short} on a 24-hour clock?", ""))
        return Problem(
            ask[0],
            f"PM means after noon, so add 12 to the hour: {step}. The minutes stay the same.",
            long,
            context=ask[1],
        )
    (step,) = chain(f"{hour} - 12")
    ask = d.say(("Rewrite this time with AM or PM.", long), (f"What is {long} on a 12-hour clock?", ""))
    return Problem(
        ask[0],
        f"An hour above 12 is in the afternoon or evening, so take away 12: {step}. The minutes stay the same, with "
        "PM.",
        short,
        context=ask[1],
    )


@conversion
def time_zones(d: Dice) -> Problem:
    """The time in another city."""
    ahead, behind, hours = d.say(
        ("Tokyo", "Paris", 8), ("London", "Chicago", 6), ("Berlin", "New York", 6), ("Cairo", "Boston", 7),
        ("Beijing", "London", 8), ("Madrid", "Toronto", 6), ("Denver", "Honolulu", 3), ("Nairobi", "Lisbon", 3),
    )  # fmt: skip
    noon = d.n(9, 15) * 60 + d.n(0, 55, 5)
    forward = d.say(True, False)
    here, there = (behind, ahead) if forward else (ahead, behind)
    result = noon + (60 if forward else -60) * hours
    need(0 <= result < 24 * 60)
    way = "later" if forward else "earlier"
    return Problem(
        d.say(
            f"In January, {ahead} is {hours} hours ahead of {behind}. It is {clock(noon)} in {here}. What time is it "
            f"in {there}?",
            f"A call is set for {clock(noon)} {here} time in January, when {ahead} clocks are {hours} hours ahead of "
            f"{behind}. What time is that in {there}?",
        ),
        f"The time in {there} is {hours} hours {way} than in {here}. Counting {hours} hours "
        f"{'forward' if forward else 'back'} from {clock(noon)} gives {clock(result)}.",
        clock(result),
    )


@conversion
def date_later(d: Dice) -> Problem:
    """The date some days after a date, across the end of a month."""
    start = some_day(d, 8, 28)
    left = days_in(start) - start.day
    n = left + d.n(2, 26)
    end = start + timedelta(days=n)
    before, after = chain(f"{days_in(start)} - {start.day}", f"{n} - _1")
    month, following = MONTHS[start.month - 1], MONTHS[end.month - 1]
    who = d.person()
    return Problem(
        d.say(
            f"What is the date {n} days after {on(start)}?",
            f"{who} orders a parcel on {on(start)}, and it arrives {n} days later. On which date does it arrive?",
            f"A visa issued on {on(start)} runs out {n} days later. On which date does it run out?",
        ),
        f"{month} {start.year} has {days_in(start)} days, so {before} days of it are left. The other {after} days run "
        f"into {following}.",
        on(end),
    )


@conversion
def days_between(d: Dice) -> Problem:
    """The number of days between dates in neighboring or next but one months."""
    start = some_day(d, 3, 28)
    end = start + timedelta(days=d.n(25, 75))
    gap = (end.year - start.year) * 12 + end.month - start.month
    need(gap in (1, 2) and end.year == start.year)
    month, last = MONTHS[start.month - 1], MONTHS[end.month - 1]
    (rest,) = chain(f"{days_in(start)} - {start.day}")
    if gap == 1:
        (total,) = chain(f"{rest.value} + {end.day}")
        between = ""
    else:
        inner = date(start.year, start.month + 1, 1)
        between = f" All of {MONTHS[inner.month - 1]} adds {days_in(inner)} days."
        (total,) = chain(f"{rest.value} + {days_in(inner)} + {end.day}")
    return Problem(
        d.say(
            f"How many days are there from {on(start)} to {on(end)}?",
            f"An exhibition opens on {on(start)} and its last day is {on(end)}. How many days after the opening is "
            "that?",
        ),
        f"{month} has {days_in(start)} days that year, so {rest} days of it are left.{between} Then come {end.day} "
        f"days of {last}: {total}.",
        f"{total.value} days",
    )


@conversion
def weekday_later(d: Dice) -> Problem:
    """The day of the week some days from a given one."""
    start, n = d.n(0, 6), d.n(15, 95)
    weeks, rest = divmod(n, 7)
    need(rest > 0)
    full, extra = chain(f"{weeks} * 7", f"{n} - _1")
    end = DAYS[(start + rest) % 7]
    return Problem(
        d.say(
            f"Today is {DAYS[start]}. What day of the week will it be in {n} days?",
            f"A package is sent on a {DAYS[start]} and arrives {n} days later. On which day of the week does it "
            "arrive?",
        ),
        f"Every 7 days the weekday is the same. {weeks} full weeks are {full} days, and {extra} more "
        f"{'day remains' if rest == 1 else 'days remain'}. {many(rest, 'day').capitalize()} after {DAYS[start]} is "
        f"{end}.",
        end,
    )


@conversion
def weekday_of_date(d: Dice) -> Problem:
    """The weekday of a date, from that of another one in the same month."""
    start = some_day(d, 1, 9)
    end = start + timedelta(days=d.n(8, 21))
    need(end.month == start.month)
    n, (weeks, rest) = (end - start).days, divmod((end - start).days, 7)
    gap, full = chain(f"{end.day} - {start.day}", f"{weeks} * 7")
    tail = (
        f"That is {many(weeks, 'full week')} and {many(rest, 'day')}, so count {rest} on from {DAYS[start.weekday()]}: "
        f"{DAYS[end.weekday()]}."
        if rest
        else f"That is exactly {many(weeks, 'week')} ({full}), so the weekday is the same."
    )
    need(n == weeks * 7 + rest)
    return Problem(
        d.say(
            f"{on(start)} is a {DAYS[start.weekday()]}. Which day of the week is {on(end)}?",
            f"If {on(start)} falls on a {DAYS[start.weekday()]}, on which weekday does {on(end)} fall?",
        ),
        f"From the first date to the second it is {gap} days. {tail}",
        DAYS[end.weekday()],
    )


@conversion
def first_weekday(d: Dice) -> Problem:
    """The date of the first or second given weekday of a month."""
    first = some_day(d, 1, 1)
    wanted, second = d.n(0, 6), d.say(True, False)
    offset = (wanted - first.weekday()) % 7
    need(offset > 0)
    month = f"{MONTHS[first.month - 1]} {first.year}"
    (step,) = chain(f"1 + {offset}")
    day, more = 1 + offset, ""
    if second:
        (week,) = chain(f"{day} + 7")
        day, more = day + 7, f" The second one is a week later: {week}."
    order = "second" if second else "first"
    return Problem(
        d.say(
            f"A club meets on the {order} {DAYS[wanted]} of each month. {MONTHS[first.month - 1]} 1, {first.year} is a "
            f"{DAYS[first.weekday()]}. On which date does it meet in {month}?",
            f"{MONTHS[first.month - 1]} 1, {first.year} is a {DAYS[first.weekday()]}. What is the date of the {order} "
            f"{DAYS[wanted]} of that month?",
        ),
        f"From {DAYS[first.weekday()]} to {DAYS[wanted]} it is {many(offset, 'day')}, so the first {DAYS[wanted]} has "
        f"the day number {step}.{more}",
        on(first.replace(day=day)),
    )


@conversion
def day_of_year(d: Dice) -> Problem:
    """The number of a day within its year."""
    day = date(d.n(2019, 2027), d.n(3, 5), d.n(2, 28))
    lengths = [calendar.monthrange(day.year, month)[1] for month in range(1, day.month)]
    named = [f"{MONTHS[i]} ({n} days)" for i, n in enumerate(lengths)]
    leap = "a leap year" if calendar.isleap(day.year) else "not a leap year"
    (total,) = chain(" + ".join(map(str, [*lengths, day.day])))
    return Problem(
        d.say(
            f"Counting January 1 as day 1, which day of the year is {on(day)}?",
            f"What number does {on(day)} have if the days of that year are counted from January 1 as number 1?",
        ),
        f"{day.year} is {leap}. Before {MONTHS[day.month - 1]} come {listed(named)}. Adding the {day.day} days of "
        f"{MONTHS[day.month - 1]} gives {total}.",
        total.value,
    )


@conversion
def loan_weeks(d: Dice) -> Problem:
    """A due date some weeks after a date."""
    who, item = d.person(), d.thing("library_book carpet_cleaner ladder projector costume sewing_machine tent DVD")
    start, weeks = some_day(d, 2, 28), d.n(2, 6)
    (n,) = chain(f"{weeks} * 7")
    end = start + timedelta(days=int(n.value))
    months = (end.year - start.year) * 12 + end.month - start.month
    need(months == 1)
    left, after = chain(f"{days_in(start)} - {start.day}", f"{n.value} - _1")
    return Problem(
        f"{who} borrows {a_(item)} on {on(start)} for {weeks} weeks. On which date is it due?",
        f"{weeks} weeks are {n} days. {MONTHS[start.month - 1]} has {days_in(start)} days that year, so {left} of them "
        f"{'is' if left.value == '1' else 'are'} left. The other {after} fall in {MONTHS[end.month - 1]}.",
        on(end),
    )


@conversion
def feet_and_inches(d: Dice) -> Problem:
    """Feet and inches as inches, or back."""
    feet, inches = d.n(3, 9), d.n(2, 11)
    thing = d.thing("door bookcase curtain table ladder plank bench window rope")
    full, total = chain(f"{feet} * 12", f"_1 + {inches}")
    if d.say(True, False):
        return Problem(
            f"{a_(thing).capitalize()} is {feet} feet {inches} inches long. How many inches is that?",
            f"One foot is 12 inches, so {feet} feet are {full} inches. Adding the other {inches} gives {total} inches.",
            f"{total.value} inches",
        )
    (rest,) = chain(f"{total.value} - {full.value}")
    return Problem(
        f"{a_(thing).capitalize()} is {total.value} inches long. Give its length in feet and inches.",
        f"One foot is 12 inches. {feet} feet are {full} inches, and {rest} inches are left over.",
        f"{feet} feet {inches} inches",
    )


@conversion
def us_units(d: Dice) -> Problem:
    """Customary units that are whole multiples of each other."""
    big, small, factor, stuff = d.say(
        ("pound", "ounce", 16, "of cheese"),
        ("yard", "foot", 3, "of ribbon"),
        ("gallon", "quart", 4, "of paint"),
        ("cup", "tablespoon", 16, "of flour"),
        ("tablespoon", "teaspoon", 3, "of vanilla"),
        ("quart", "cup", 4, "of broth"),
        ("dozen", "piece", 12, ""),
    )
    n = d.n(4, 29)
    bigs = f"{n} dozen" if big == "dozen" else f"{n} {s(big)}"
    if big == "dozen":
        stuff = d.thing("egg bread_roll pencil oyster rose")
        (step,) = chain(f"{n} * 12")
        return Problem(
            d.say(
                f"How many {s(stuff)} are in {bigs}?",
                f"A shop orders {bigs} {s(stuff)}. How many {s(stuff)} is that?",
            ),
            f"One dozen is 12. So {bigs} {s(stuff)} are {step} {s(stuff)}.",
            f"{step.value} {s(stuff)}",
        )
    if d.say(True, False):
        (step,) = chain(f"{n} * {factor}")
        return Problem(
            d.say(f"How many {s(small)} are in {bigs} {stuff}?", f"Change {bigs} {stuff} into {s(small)}."),
            f"There are {factor} {s(small)} in one {big}, so multiply: {step}.",
            f"{step.value} {s(small)}",
        )
    total = n * factor
    (step,) = chain(f"{total} / {factor}")
    return Problem(
        d.say(
            f"How many {s(big)} are {total} {s(small)} {stuff}?",
            f"A kitchen needs {total} {s(small)} {stuff}. How many {s(big)} is that?"
            if big not in ("yard", "gallon")
            else f"A workshop needs {total} {s(small)} {stuff}. How many {s(big)} is that?",
        ),
        f"There are {factor} {s(small)} in one {big}, so divide: {step}.",
        f"{step.value} {s(big)}",
    )


@conversion
def degrees(d: Dice) -> Problem:
    """Celsius and Fahrenheit."""
    celsius = d.n(5, 220, 5)
    scaled, fahrenheit = chain(f"{celsius} * 9 / 5", "_1 + 32")
    thing = "oven" if celsius > 100 else "kettle" if celsius > 45 else "greenhouse"
    if d.say(True, False):
        ask = d.say(
            (f"The {thing} is at {celsius} degrees Celsius. What is that in Fahrenheit?", ""),
            ("Convert this temperature to Fahrenheit and show the steps.", f"{celsius} degrees Celsius"),
        )
        return Problem(
            ask[0],
            f"Multiply by 9, divide by 5 and then add 32. {scaled}, and {fahrenheit}.",
            f"{fahrenheit.value} degrees Fahrenheit",
            context=ask[1],
        )
    less, back = chain(f"{fahrenheit.value} - 32", "_1 * 5 / 9")
    ask = d.say(
        (f"The {thing} is at {fahrenheit.value} degrees Fahrenheit. What is that in Celsius?", ""),
        ("Convert this temperature to Celsius and show the steps.", f"{fahrenheit.value} degrees Fahrenheit"),
    )
    return Problem(
        ask[0],
        f"Take away 32, multiply by 5 and then divide by 9. {less}, and {back}.",
        f"{back.value} degrees Celsius",
        context=ask[1],
    )


@conversion
def exchange(d: Dice) -> Problem:
    """Money at a given rate."""
    home, away, rate = d.say(
        ("euro", "kroner", "11.5"),
        ("dollar", "pesos", "18"),
        ("pound", "dollars", "1.25"),
        ("euro", "crowns", "25"),
        ("dollar", "yen", "145"),
        ("pound", "euros", "1.15"),
    )
    amount = d.n(20, 480, 10)
    who = d.person()
    (step,) = chain(f"{amount} * {rate}")
    return Problem(
        d.say(
            f"One {home} buys {rate} {away}. How many {away} does {who} get for {amount} {s(home)}?",
            f"{who} changes {amount} {s(home)} into {away} at a rate of {rate} {away} per {home}. How many {away} is "
            "that?",
        ),
        f"Each {home} is worth {rate} {away}. For {amount} {s(home)}, multiply: {step}.",
        f"{step.value} {away}",
    )


@conversion
def speed(d: Dice) -> Problem:
    """Kilometers per hour as meters per minute."""
    value = d.n(6, 120, 6)
    mover = d.thing("cyclist tram horse truck boat" if value < 30 else "train bus car truck van")
    meters, rate = chain(f"{value} * 1000", "_1 / 60")
    return Problem(
        d.say(
            f"{a_(mover).capitalize()} moves at {value} kilometers per hour. How many meters does it cover in one "
            "minute?",
            f"Convert the speed of {a_(mover)}, {value} kilometers per hour, to meters per minute.",
        ),
        f"In one hour it covers {meters} meters. An hour has 60 minutes, so in one minute it covers {rate} meters.",
        f"{rate.value} meters per minute",
    )


@conversion
def map_scale(d: Dice) -> Problem:
    """A length on a map as a real distance."""
    scale, length = d.say(2, 3, 4, 5, 8, 10, 25), Fraction(d.n(5, 45), 2)
    first, second = d.say(
        ("the castle", "the lake"), ("the harbor", "the lighthouse"), ("the village", "the station"),
        ("the camp", "the waterfall"), ("the airport", "the hotel"),
    )  # fmt: skip
    (step,) = chain(f"{show(length)} * {scale}")
    return Problem(
        f"On a map, 1 centimeter stands for {scale} kilometers. The road from {first} to {second} is {show(length)} "
        f"centimeters long on the map. How long is it really?",
        f"Each centimeter stands for {scale} kilometers, so multiply the length on the map by {scale}: {step}.",
        f"{step.value} kilometers",
    )


@conversion
def areas(d: Dice) -> Problem:
    """Square units and hectares."""
    big, small, factor, side = d.say(
        ("square meter", "square centimeter", 10000, "One meter is 100 centimeters, and 100 * 100 = 10000."),
        ("hectare", "square meter", 10000, "A hectare is a square with sides of 100 meters, and 100 * 100 = 10000."),
        ("square foot", "square inch", 144, "One foot is 12 inches, and 12 * 12 = 144."),
        ("square yard", "square foot", 9, "One yard is 3 feet, and 3 * 3 = 9."),
    )
    n = Fraction(d.n(3, 48), 2 if factor == 10000 else 1)
    need(n > 1)
    (step,) = chain(f"{show(n)} * {factor}")
    return Problem(
        d.say(
            f"How many {s(small)} are in {show(n)} {s(big)}?",
            f"An area measures {show(n)} {s(big)}. Give it in {s(small)}.",
        ),
        f"{side} So one {big} has {factor} {s(small)}, and {step}.",
        f"{step.value} {s(small)}",
    )


@conversion
def age_in_months(d: Dice) -> Problem:
    """Years and months as months, or back."""
    who, years, months = d.person(), d.n(2, 14), d.n(2, 11)
    full, total = chain(f"{years} * 12", f"_1 + {months}")
    if d.say(True, False):
        return Problem(
            f"{who} is {years} years and {months} months old. How many months is that?",
            f"A year has 12 months, so {years} years are {full} months. With the other {months} months: {total}.",
            f"{total.value} months",
        )
    (rest,) = chain(f"{total.value} - {full.value}")
    return Problem(
        f"A phone contract has been running for {total.value} months. Give this in years and months.",
        f"A year has 12 months. {years} years are {full} months, and {rest} months are left.",
        f"{years} years and {months} months",
    )


@conversion
def leap_month(d: Dice) -> Problem:
    """The number of days of two or three whole months."""
    year, month, count = d.n(1996, 2031), d.n(1, 9), d.n(2, 3)
    need(month <= 2)
    lengths = [calendar.monthrange(year, month + i)[1] for i in range(count)]
    names = [MONTHS[month - 1 + i] for i in range(count)]
    rule = "leap year, so February has 29 days" if calendar.isleap(year) else "common year, so February has 28 days"
    (total,) = chain(" + ".join(map(str, lengths)))
    others = [f"{name} has {n}" for name, n in zip(names, lengths, strict=True) if name != "February"]
    return Problem(
        d.say(
            f"How many days do {listed(names)} {year} have together?",
            f"Work out the total number of days in {listed(names)} of the year {year}.",
        ),
        f"{year} is a {rule}. {listed(others)}. Together: {total}.",
        f"{total.value} days",
    )


@conversion
def seconds(d: Dice) -> Problem:
    """Minutes and seconds as seconds."""
    what = d.thing("song race video speech phone_call commercial dance swim")
    minutes, rest = d.n(2, 14), d.n(5, 55)
    full, total = chain(f"{minutes} * 60", f"_1 + {rest}")
    return Problem(
        d.say(
            f"{a_(what).capitalize()} takes {minutes} minutes and {rest} seconds. How long is it in seconds?",
            f"How many seconds are {minutes} minutes and {rest} seconds?",
        ),
        f"A minute has 60 seconds, so {minutes} minutes are {full} seconds. Together with the {rest} seconds that "
        f"makes {total} seconds.",
        f"{total.value} seconds",
    )


@conversion
def weeks_and_days(d: Dice) -> Problem:
    """Days as weeks and days."""
    who, what = d.person(), d.thing("trip voyage course project visit training holiday")
    weeks, rest = d.n(3, 14), d.n(1, 6)
    days = weeks * 7 + rest
    full, left = chain(f"{weeks} * 7", f"{days} - _1")
    return Problem(
        d.say(
            f"{who} is away for {days} days. How many full weeks and how many more days is that?",
            f"{who}'s {what} takes {days} days. Write this as weeks and days.",
        ),
        f"A week has 7 days. {weeks} weeks are {full} days, and {left} {'day is' if rest == 1 else 'days are'} left.",
        f"{weeks} weeks and {many(rest, 'day')}",
    )


# --------------------------------------------------------------------------------------------------------------------
# The rows

Record = dict[str, object]


@dataclass(frozen=True)
class Row:
    """One row of the pool before it has an id."""

    instruction: str
    input: str
    output: str
    source: str

    def record(self, name: str) -> Record:
        """The row as it is written."""
        return {
            "id": name,
            "instruction": self.instruction,
            "input": self.input,
            "output": self.output,
            "source": self.source,
        }


def words(text: str) -> list[str]:
    """The lower-case words and numbers of a text."""
    return re.findall(r"[a-z]+|\d+(?:\.\d+)?", text.lower())


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """All sequences of `length` words of a text."""
    found = words(text)
    return {tuple(found[i : i + length]) for i in range(len(found) - length + 1)}


def problems(rng: random.Random, templates: Sequence[Template], strict: bool) -> Iterator[Problem]:
    """Endless problems, the templates taken in turns.

    Args:
        rng: Source of chance.
        templates: Whose turn comes in an order that is drawn anew each round.
        strict: Whether no two problems may share their numbers, their template and cast, or `RUN` words in a row.
    """
    seen: set[object] = set()
    while True:
        for template in rng.sample(templates, len(templates)):
            for _ in range(10_000):
                dice = Dice(rng)
                try:
                    problem = template(dice)
                except Reroll:
                    continue
                problem = replace(problem, cast=tuple(sorted(dice.cast)))
                keys: set[object] = {(problem.question, problem.context), (template, problem.numbers)}
                if strict:
                    keys |= {problem.numbers, (template, problem.cast)} | runs(problem.question, RUN)
                if not keys & seen:
                    seen |= keys
                    yield problem
                    break
            else:
                raise RuntimeError(f"template {template.__name__} is exhausted")


def take(source: Iterator[Problem], count: int, skill: str) -> list[Row]:
    """The next problems as rows."""
    chosen = (next(source) for _ in range(count))
    return [Row(p.question, p.context, p.output, skill) for p in chosen]


def worked(steps: Iterable[Step]) -> str:
    """Steps as one line that ends in the answer."""
    steps = list(steps)
    return f"{listed([step.text for step in steps])}. The answer is {steps[-1].value}."


def choices(rng: random.Random, problem: Problem) -> list[str]:
    """The right choice and three wrong ones: other computations, and one that slips by a unit or by ten."""
    answer = problem.right[-1]
    found = {answer.value: worked(problem.right)}
    for expressions in rng.sample(problem.wrong, len(problem.wrong)):
        try:
            steps = chain(*expressions)
        except Reroll:
            continue
        if steps[-1].exact > 0:
            found.setdefault(steps[-1].value, worked(steps))
        if len(found) == 3:
            break
    money = answer.value.startswith("$")
    for slip in rng.sample([1, -1, 10, -10, 2, -2], 6):
        if len(found) == 4:
            break
        if answer.exact + slip > 0:
            value = show(answer.exact + slip, money)
            wrong = Step(f"{answer.text.split(' = ')[0]} = {value}", value, answer.exact + slip)
            found.setdefault(value, worked((*problem.right[:-1], wrong)))
    return list(found.values())


def task_rows(rng: random.Random, source: Iterator[Problem]) -> list[Record]:
    """The questions of the evaluation task, with the right choice equally often in each place."""
    places = [i % 4 for i in range(TASK_ROWS)]
    rng.shuffle(places)
    records: list[Record] = []
    for number, place in enumerate(places, start=1):
        problem = next(source)
        right, *wrong = choices(rng, problem)
        rng.shuffle(wrong)
        wrong.insert(place, right)
        records.append({"id": f"qa-{number:02d}", "question": problem.question, "choices": wrong, "gold": place})
    return records


def written(skill: str) -> list[Row]:
    """The hand-written rows of a skill."""
    lines = (HERE / "written" / f"{skill}.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.strip()]
    return [Row(r["instruction"], r.get("input") or "", r["output"], skill) for r in records]


# --------------------------------------------------------------------------------------------------------------------
# The planted defects


@dataclass(frozen=True)
class Planted:
    """A row that is bad on purpose, and the place of the row that it took from."""

    defect: str
    of: int | None = None


def cut(rng: random.Random, text: str) -> str | None:
    """The first 25 to 50 % of an answer, ending inside a sentence; None where that cannot be."""
    low, high = -(-len(text) // 4), len(text) // 2
    inside = [i for i in range(low, high + 1) if text[i - 1].isalnum() and text[i] not in ".!?\n"]
    return text[: rng.choice(inside)] if inside and len(text) >= 60 else None


def plant(rng: random.Random, rows: list[Row]) -> tuple[list[Row], dict[int, Planted]]:
    """Spoil some rows and append some copies, about equally many in each skill.

    Args:
        rng: Source of chance.
        rows: Good rows only.

    Returns:
        The rows with the defects in place, and what was done by place.
    """
    result, planted = list(rows), dict[int, Planted]()
    free = {skill: [i for i, row in enumerate(rows) if row.source == skill] for skill in SKILLS}
    for places in free.values():
        rng.shuffle(places)

    def swap(first: str, second: str) -> None:
        a = free[first].pop()
        b = next(i for i in reversed(free[second]) if words(rows[i].output) != words(rows[a].output))
        free[second].remove(b)
        result[a] = replace(rows[a], output=rows[b].output)
        result[b] = replace(rows[b], output=rows[a].output)
        planted[a], planted[b] = Planted("swapped", b), Planted("swapped", a)

    for skill in [skill for skill in SKILLS if skill != "classification"][:SAME_SKILL_SWAPS]:
        swap(skill, skill)
    for i in range(CROSS_SKILL_SWAPS):
        swap(SKILLS[i % 8], SKILLS[(i + 3) % 8])
    for i in range(EMPTY_ROWS):
        place = free[SKILLS[i % 8]].pop()
        result[place] = replace(rows[place], output=BLANKS[i % len(BLANKS)])
        planted[place] = Planted("empty")
    for i in range(CUT_ROWS):
        for place in reversed(free[SKILLS[i % 8]]):
            short = cut(rng, rows[place].output)
            if short is not None:
                free[SKILLS[i % 8]].remove(place)
                result[place] = replace(rows[place], output=short)
                planted[place] = Planted("cut")
                break
        else:
            raise RuntimeError(f"no answer of {SKILLS[i % 8]} is long enough to cut")
    for i in range(DUPLICATE_ROWS):
        place = free[SKILLS[i % 8]].pop()
        planted[len(result)] = Planted("duplicate", place)
        result.append(rows[place])
    return result, planted


# --------------------------------------------------------------------------------------------------------------------
# The files

TASK_YAML = """\
# Written by generate.py. Four worked answers per question; the model has to find the right one the most likely.
task: quickstart_arithmetic
dataset_path: json
dataset_kwargs:
  data_files:
    test: quickstart_arithmetic.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: gold
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def jsonl(records: Iterable[Record]) -> str:
    """Records as JSON Lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def check(pool: Sequence[Record], other: Sequence[Sequence[Record]]) -> None:
    """Stop if a question outside the pool is also in the pool or in another file."""
    seen = {" ".join(words(f"{r['instruction']} {r['input']}")) for r in pool}
    pool_runs = {run for r in pool for run in runs(str(r["instruction"]), RUN)}
    for records in other:
        for record in records:
            question = str(record.get("instruction") or record["question"])
            key = " ".join(words(question))
            if key in seen or runs(question, RUN) & pool_runs:
                raise RuntimeError(f"{record['id']} is also elsewhere: {question}")
            seen.add(key)


def build() -> dict[str, str]:
    """All files by name, with their contents."""
    source = problems(random.Random(f"{SEED} arithmetic"), ARITHMETIC, strict=True)
    good = take(source, GENERATED_ROWS, "arithmetic")
    target = [r.record(f"qt-{i:02d}") for i, r in enumerate(take(source, TARGET_ROWS, "arithmetic"), start=1)]
    heldout = [r.record(f"qh-{i:02d}") for i, r in enumerate(take(source, HELDOUT_ROWS, "arithmetic"), start=1)]
    task = task_rows(random.Random(f"{SEED} task"), source)
    source = problems(random.Random(f"{SEED} conversion"), CONVERSION, strict=False)
    good += take(source, GENERATED_ROWS, "conversion")
    for skill in WRITTEN:
        good += written(skill)

    rng = random.Random(f"{SEED} pool")
    rows, planted = plant(rng, good)
    order = list(range(len(rows)))
    rng.shuffle(order)
    names = {place: f"qs-{number:04d}" for number, place in enumerate(order, start=1)}
    pool = [rows[place].record(names[place]) for place in order]
    defects: list[Record] = []
    for place in order:
        if place in planted:
            what = planted[place]
            of = None if what.of is None else names[what.of]
            defects.append({"id": names[place], "defect": what.defect, "of": of})
    check(pool, [target, heldout, task])
    return {
        "pool.jsonl": jsonl(pool),
        "planted.jsonl": jsonl(defects),
        "target.jsonl": jsonl(target),
        "heldout.jsonl": jsonl(heldout),
        "tasks/quickstart_arithmetic.jsonl": jsonl(task),
        "tasks/quickstart_arithmetic.yaml": TASK_YAML,
    }


def main() -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    arguments = parser.parse_args()
    stale = []
    for name, content in build().items():
        path, data = HERE / name, content.encode()
        if path.exists() and path.read_bytes() == data:
            continue
        stale.append(name)
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    if arguments.check:
        print(f"differ: {', '.join(stale)}" if stale else "up to date")
        return 1 if stale else 0
    print(f"written: {', '.join(stale)}" if stale else "nothing to write")
    return 0


if __name__ == "__main__":
    sys.exit(main())
