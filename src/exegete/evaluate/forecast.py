"""What an explanation will cost, said before it starts.

1. the question is asked (one forward where the model must choose its own target) and its units counted;
2. the method estimates its passes from the number of units and outputs, an upper bound where duplicates are run once;
3. the trust line is added: its distinct inputs, and the method once more for the control; a contrast of longer texts
   takes two passes an input;
4. passes of the untouched input are timed in a batch; a backward counts as two passes.

Cost: two passes of up to 16 inputs.
"""

from exegete.core.method import Method
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.core.trust import Cost
from exegete.evaluate.explained import attribution_method
from exegete.evaluate.trust import TrustLevel, judging_inputs
from exegete.models.ask import ask
from exegete.models.model import Model

CHECKS = 3  # passes of the untouched input that every attribution makes for its self-checks


def forecast(
    model: Model, text: Text, method: Method, target: Target, unit: str, prefix: bool, trust: TrustLevel
) -> Cost:
    """Forecast passes, tokens and seconds of explaining one text."""
    how = attribution_method(method)
    how.check(model)
    question = ask(model, text, target)
    asked = question.meter.cost()  # its pass of the untouched input, where it made one, is one of the CHECKS
    chosen = asked.forwards - (question.untouched is not None)
    units = question.units(unit, prefix)
    forwards, backwards = how.estimate(len(units), question.n_outputs)
    twice = 2 if trust == "full" else 1
    forwards = twice * forwards + CHECKS + judging_inputs(len(units), level=trust)
    backwards = twice * backwards
    branches, tokens = len(question.branches), len(question.ids) + max(len(b.tail) for b in question.branches)
    question.pace()  # the first pass of a process is slower than those that follow
    one = question.pace()
    return Cost(
        forwards=branches * forwards + chosen,
        backwards=backwards,
        tokens=branches * forwards * tokens + asked.tokens,
        seconds=asked.seconds + one * (forwards + 2 * backwards),
    )
