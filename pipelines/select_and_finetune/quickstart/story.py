"""What the story templates are made of: computed steps, words, people, and dice that draw them."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

T = TypeVar("T")


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
