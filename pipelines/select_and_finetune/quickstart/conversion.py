"""Story templates of the skill `conversion`: units, durations, clocks and the calendar."""

import calendar
from datetime import date, timedelta
from fractions import Fraction

from story import Dice, Problem, a_, chain, conversion, listed, many, need, s, show

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
        f"{hours} hours are {full} minutes, the most that fits. Then {left} minutes are left.",
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
