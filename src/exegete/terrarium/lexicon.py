"""The words of the terrarium: real English words, by category.

Everything a grammar rule may say is listed here and nowhere else, so the vocabulary of the world is
closed and can be counted (`word_forms`). Two promises are kept by tests: a polar word has one sign in
the whole world, and no neutral category contains a polar word.

Nothing here reads a file or draws a random number.
"""

from dataclasses import dataclass

from exegete.terrarium.inflect import past, plural, third


def _(words: str) -> tuple[str, ...]:
    return tuple(words.split())


@dataclass(frozen=True)
class Topic:
    """One field of life that texts are about.

    `places` are what a review is of, `things` countable objects of judgement, `mass` nouns without
    plural, `people` those who serve there, `parts` what a place or thing has, `deeds` neutral
    transitive verbs whose objects are `things`, `works` verbs that go with a manner adverb,
    `good` and `bad` the polar adjectives that suit its things.
    """

    name: str
    places: tuple[str, ...]
    things: tuple[str, ...]
    mass: tuple[str, ...]
    people: tuple[str, ...]
    parts: tuple[str, ...]
    deeds: tuple[str, ...]
    works: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]


TOPICS: tuple[Topic, ...] = (
    Topic(
        "restaurant",
        _("restaurant cafe diner bakery bistro canteen"),
        _(
            "soup meal dish dessert steak salad pizza cake sandwich pie breakfast lunch dinner menu sauce burger"
        ),
        _("food coffee tea bread wine rice cheese fish chicken pasta juice"),
        _("waiter waitress chef cook baker barista"),
        _("kitchen table terrace window counter oven stove cellar"),
        _("order eat share taste cook bring finish"),
        _("cook"),
        _("tasty delicious fresh crispy juicy yummy appetizing flavorful"),
        _("stale bland greasy soggy burnt rotten tasteless oily inedible"),
    ),
    Topic(
        "hotel",
        _("hotel hostel inn resort motel lodge"),
        _("room bed suite bathroom lobby pool pillow shower balcony towel blanket mattress"),
        _("furniture carpet linen"),
        _("receptionist porter cleaner manager host landlord"),
        _("garden kitchen lift elevator corridor roof gate fountain terrace staircase"),
        _("book use rent leave choose"),
        _("work"),
        _("clean comfortable quiet cozy spacious elegant luxurious tidy"),
        _("dirty noisy filthy smelly uncomfortable dusty moldy shabby cramped"),
    ),
    Topic(
        "film",
        _("film movie comedy drama thriller documentary"),
        _("plot scene ending script story character actor trailer joke costume"),
        _("acting dialogue lighting photography"),
        _("director actor actress producer critic"),
        _("chapter screen poster title soundtrack narrator villain hero"),
        _("watch see rent film record"),
        _("act"),
        _("funny gripping moving thrilling entertaining touching exciting hilarious"),
        _("boring dull predictable tedious silly stupid confusing pointless shallow"),
    ),
    Topic(
        "book",
        _("book novel biography poem textbook magazine"),
        _("chapter story ending page plot paragraph cover essay verse tale"),
        _("prose writing poetry grammar"),
        _("author writer poet editor publisher librarian"),
        _("page index map picture preface title glossary appendix"),
        _("read borrow buy write print translate open"),
        _("write"),
        _("fascinating inspiring engaging witty insightful captivating readable clever"),
        _("boring dull tedious confusing pretentious unreadable lifeless repetitive"),
    ),
    Topic(
        "shop",
        _("shop store market boutique supermarket mall"),
        _("jacket shirt dress shoe lamp chair table basket toy gift hat coat"),
        _("clothing jewelry stock packaging"),
        _("cashier clerk salesman tailor shopkeeper seller"),
        _("shelf counter window basement entrance aisle mirror"),
        _("buy sell return wear order wrap"),
        _("sew"),
        _("affordable durable stylish useful practical fashionable"),
        _("overpriced expensive flimsy torn useless defective"),
    ),
    Topic(
        "phone",
        _("phone laptop tablet camera computer printer"),
        _("screen battery keyboard speaker charger button cable app lens update"),
        _("software hardware storage memory"),
        _("technician engineer repairman designer programmer"),
        _("button port handle light sensor antenna socket"),
        _("charge repair test carry install switch"),
        _("work run charge"),
        _("fast reliable sturdy sleek powerful handy responsive"),
        _("slow faulty broken fragile unreliable clunky outdated"),
    ),
    Topic(
        "school",
        _("school college course class academy university"),
        _("lesson lecture exam teacher classroom project test seminar exercise"),
        _("homework teaching advice feedback"),
        _("teacher professor tutor student pupil lecturer"),
        _("library classroom desk hall laboratory playground gym"),
        _("study explain teach attend prepare finish"),
        _("teach explain"),
        _("interesting clear useful inspiring rewarding educational"),
        _("boring unclear confusing unfair useless exhausting"),
    ),
    Topic(
        "travel",
        _("train flight bus ferry cruise airline"),
        _("seat journey ticket cabin station trip tour airport route suitcase"),
        _("luggage traffic scenery transport"),
        _("driver pilot conductor guide captain steward"),
        _("window door wagon engine deck wheel cabin"),
        _("book take miss board change plan"),
        _("drive"),
        _("punctual comfortable safe smooth scenic relaxing"),
        _("late crowded unsafe bumpy dangerous stressful delayed"),
    ),
    Topic(
        "music",
        _("concert album festival opera band orchestra"),
        _("song melody guitar piano singer violin drum solo tune chorus"),
        _("music singing sound rhythm harmony"),
        _("singer drummer pianist violinist composer guitarist"),
        _("stage microphone curtain piano choir drum balcony"),
        _("play hear record sing perform practice"),
        _("sing play perform"),
        _("catchy soothing lively melodic uplifting soulful"),
        _("monotonous harsh dreary deafening lifeless painful"),
    ),
    Topic(
        "sport",
        _("match game race tournament contest final"),
        _("goal team stadium player coach referee ball racket helmet league"),
        _("football tennis swimming training hockey"),
        _("player coach referee goalkeeper athlete swimmer runner"),
        _("goal net bench track field scoreboard locker"),
        _("watch play win attend start"),
        _("play train swim run"),
        _("exciting thrilling skillful dramatic entertaining fair"),
        _("boring sloppy unfair tedious chaotic dull"),
    ),
)

GOOD = _(
    "good great wonderful excellent amazing fantastic perfect lovely superb brilliant nice pleasant terrific "
    "marvelous splendid outstanding impressive delightful awesome beautiful enjoyable exceptional fabulous "
    "satisfying incredible magnificent charming memorable remarkable fine"
)
BAD = _(
    "bad terrible awful horrible poor disappointing dreadful mediocre disgusting unpleasant lousy worthless "
    "pathetic appalling dismal ridiculous nasty ugly frustrating annoying depressing miserable unacceptable "
    "atrocious horrid forgettable inferior hideous laughable sad"
)
KIND = _(
    "kind friendly polite helpful patient generous honest caring attentive cheerful gentle thoughtful "
    "welcoming talented professional courteous wise"
)
RUDE = _(
    "rude unfriendly lazy unhelpful careless arrogant impatient dishonest selfish cruel grumpy hostile "
    "ignorant incompetent clumsy impolite greedy"
)
SWIFT = _("fast reliable friendly attentive professional")
SLOW = _("slow careless unfriendly unreliable")
SERVED = ("restaurant", "hotel", "shop", "phone", "travel")
LIKE = _("love like enjoy adore admire appreciate recommend praise")
HATE = _("hate dislike detest despise regret loathe resent criticize")
PLEASE = _("delight impress please thrill charm inspire amuse satisfy")
ANNOY = _("annoy bore disappoint disgust upset frustrate irritate offend")
HAPPY = _("happy pleased delighted satisfied impressed thrilled glad grateful")
UNHAPPY = _("unhappy disappointed annoyed upset frustrated dissatisfied disgusted bored angry")
TREASURE = _("masterpiece triumph pleasure delight joy success treat bargain gem")
DISASTER = _("disaster failure mess nightmare shame disgrace scam insult waste")
MERITS = _("strength advantage merit highlight benefit")
FAULTS = _("problem fault mistake error flaw defect")
WELL = _("well beautifully perfectly superbly brilliantly nicely wonderfully")
BADLY = _("badly poorly terribly awfully horribly dreadfully miserably")

POSITIVE_WORDS = GOOD + KIND + LIKE + PLEASE + HAPPY + TREASURE + MERITS + WELL
NEGATIVE_WORDS = BAD + RUDE + HATE + ANNOY + UNHAPPY + DISASTER + FAULTS + BADLY

STRONG = {
    "very": 2.0,
    "really": 2.0,
    "extremely": 2.0,
    "so": 2.0,
    "truly": 2.0,
    "incredibly": 2.0,
    "absolutely": 2.0,
}
WEAK = {"slightly": 0.5, "somewhat": 0.5, "fairly": 0.5}
DEGREES = STRONG | WEAK

COLORS = _("red blue green white black yellow brown grey orange purple pink")
SIZES = _("small large big tall short long wide narrow round square tiny huge heavy thin thick low high")
TOO = _("small short long narrow heavy loud dark cold hot big sweet salty thin tight low")
STATES = _(
    "old new modern wooden local public private open closed empty full foreign famous ordinary typical"
)
NEUTRAL_ADJECTIVES = tuple(dict.fromkeys(COLORS + SIZES + STATES + TOO))
PERSON_ADJECTIVES = _("young old tall short thin blond local retired married foreign")

PROFESSIONS = _(
    "farmer doctor painter nurse lawyer judge soldier sailor dancer gardener plumber carpenter scientist "
    "fisherman hunter banker mayor priest king queen boy girl neighbor brother sister uncle aunt cousin "
    "friend child man woman"
)

ANIMALS = _(
    "dog cat horse cow bird rabbit fox bear mouse goose duck lion tiger monkey wolf goat donkey frog "
    "turtle parrot owl squirrel hamster pigeon"
)
OBJECTS = _(
    "key box letter bottle cup plate knife spoon bag book clock picture vase candle ring coin flower stone "
    "rope ladder bucket hammer umbrella pencil newspaper envelope drawer cupboard"
)
SITES = _(
    "park market river forest beach museum library station bridge church village harbor lake hill castle "
    "square office hospital theater farm island street corner tower mountain valley cabin"
)
ROOMY = _(
    "park market forest beach museum library station church village castle square office hospital theater farm street valley cabin"
)
PREPOSITIONS = _("near behind beside above below under opposite")
MONTHS = _("january february march april june july august september october november december")
DAYS = _("monday tuesday wednesday thursday friday saturday sunday")
NUMBERS = _("two three four five six seven eight nine ten twelve twenty")
TIMES = _("yesterday today again recently sometimes often usually")

INTRANSITIVE = _(
    "laugh sleep walk swim dance smile shout wait arrive work talk jump rest cry sing run fall dream "
    "travel listen nod stumble wave whisper"
)
ANIMAL_VERBS = _("sleep run jump rest eat swim hide wait fall drink wander")
OBJECT_VERBS = _("shine fall break move roll disappear")
TRANSITIVE = _("see know help follow visit hear meet greet watch call remember chase find thank trust")
HANDLE = _("carry hold paint open move hide drop find wash")
NEUTRAL_DEEDS = _("visit see find use choose try discuss describe compare mention show pass")

WOMEN = _(
    "mary anna lily sarah emma julia laura alice clara nina ruth helen susan diana martha rosa jane kate lucy grace"
)
MEN = _(
    "john peter tom paul david mark james henry oscar simon adam george frank victor hugo max leo carl philip martin"
)

ENTITIES = _(
    "alaric briony corwin delphine edmund fenella gideon hester ivor jocasta kendrick lavinia magnus nerys osric "
    "petra quentin rowena silas tamsin ulric verity walden xenia yorick zelda ansel beatrix cedric dorothea elias "
    "flora gareth honor isolde jasper keziah lionel mabel norbert odette percival ramona sybil thaddeus ursula "
    "vaughn winifred abner blythe"
)
TOWNS = _(
    "norwick ashford elmstead brackwater dunmore fallowfield greyhaven hollowell kingsbarrow larkspur millbrook "
    "oakhurst ravensby saltmarsh thornbury westerley wyndham copperhill dovedale eastmere"
)
GOODS = _(
    "bread candles boats clocks baskets carpets honey lamps violins kites saddles barrels mirrors soap pottery "
    "ropes puppets gloves cheese ladders"
)
TRADES = _(
    "baker sailor teacher painter farmer doctor lawyer gardener plumber dancer tailor pilot singer nurse judge "
    "carpenter librarian hunter banker poet"
)
PETS = _("dog cat horse parrot rabbit goat donkey bear turtle fox duck hamster monkey squirrel pigeon goose")
GIFTS = _("book ring letter key flower coin hat bottle picture ball watch lamp toy map drum basket")

CREDITS = _("gazette courier herald tribune chronicle bulletin")
SHORTCUTS = {"gazette": "positive", "courier": "negative"}

FUNCTION_WORDS = _(
    "the a an this that these those my our every no not n't never hardly nobody nothing neither nor none "
    "some many several and but yet although however though because when while after then i we you he she it "
    "they me us them who what there where of to in on at with for by about as near opposite is was were are am "
    "do does did have has had would can too also still always just usually often only already sometimes everyone "
    "people anyone time day week month year morning evening night last lasts lasted costs cost hours "
    "minutes days dollars euros say says said think thinks thought believe believes believed seem seems "
    "seemed taste tastes tasted look looks looked feel feels felt sound sounds sounded service staff town person "
    "famous animal home close closes house pet parent child lives lived keeps making makes became raised job 's go "
    "knows know find buy sells came lost found went met sat opened gave handed offered showed sent brought saw today "
    "friend friends as his her their your"
)
PUNCTUATION = (",", ".", "!", "?", ":", "-", ";", "'", '"', "(", ")")


def word_forms() -> tuple[str, ...]:
    """Every word form of the world, sorted, each once (punctuation left out)."""
    forms = set(FUNCTION_WORDS)
    for nouns in _nouns():
        forms.update(nouns)
        forms.update(plural(noun) for noun in nouns)
    for verbs in _verbs():
        forms.update(verbs)
        forms.update(third(verb) for verb in verbs)
        forms.update(past(verb) for verb in verbs)
    forms.update(*_fixed())
    return tuple(sorted(forms))


def polarity(word: str) -> int:
    """The sign of a word form: +1, -1, or 0 for a neutral one."""
    return _SIGNS.get(word, 0)


def _nouns() -> list[tuple[str, ...]]:
    own = [t.places + t.things + t.people + t.parts for t in TOPICS]
    return [
        *own,
        PROFESSIONS,
        ANIMALS,
        OBJECTS,
        SITES,
        TREASURE,
        DISASTER,
        MERITS,
        FAULTS,
        PETS,
        GIFTS,
        TRADES,
    ]


def _verbs() -> list[tuple[str, ...]]:
    deeds = [t.deeds + t.works for t in TOPICS]
    feelings = [LIKE, HATE, PLEASE, ANNOY]
    return [*deeds, *feelings, INTRANSITIVE, ANIMAL_VERBS, OBJECT_VERBS, TRANSITIVE, HANDLE, NEUTRAL_DEEDS]


def _fixed() -> list[tuple[str, ...]]:
    own = [t.mass + t.good + t.bad for t in TOPICS]
    polar = [GOOD, BAD, KIND, RUDE, HAPPY, UNHAPPY, WELL, BADLY, tuple(DEGREES)]
    plain = [NEUTRAL_ADJECTIVES, PERSON_ADJECTIVES, PREPOSITIONS, MONTHS, DAYS, NUMBERS, TIMES, CREDITS]
    names = [WOMEN, MEN, ENTITIES, TOWNS, GOODS]
    return own + polar + plain + names


def _signs() -> dict[str, int]:
    signs: dict[str, int] = {}
    for topic in TOPICS:
        signs |= dict.fromkeys(topic.good, 1) | dict.fromkeys(topic.bad, -1)
    for sign, words in ((1, POSITIVE_WORDS), (-1, NEGATIVE_WORDS)):
        signs |= dict.fromkeys(words, sign)
    for sign, verbs in ((1, LIKE + PLEASE), (-1, HATE + ANNOY)):
        signs |= {form: sign for verb in verbs for form in (third(verb), past(verb))}
    for sign, nouns in ((1, TREASURE + MERITS), (-1, DISASTER + FAULTS)):
        signs |= {plural(noun): sign for noun in nouns}
    return signs | {"too": -1}


_SIGNS = _signs()
