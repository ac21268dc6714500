"""Story templates of the skill `arithmetic`: word problems of one to three steps, with answers worked out."""

from story import CROPS, GOODS, PACKS, TREASURES, Dice, Problem, a_, arithmetic, chain, need, s, solved, usd


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
