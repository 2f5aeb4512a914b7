from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.core.schedule.cron_parser import parse
from app.core.schedule.cron_words import cron_in_words
from tests.support.wall_times import meant, promised


def values(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(sorted).filter(lambda ends: ends[0] < ends[1])
    step = st.integers(1, high - low + 1)
    item = st.one_of(
        number.map(str),
        span.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(span, step).map(lambda one: f"{one[0][0]}-{one[0][1]}/{one[1]}"),
        st.tuples(number, step).map(lambda one: f"{one[0]}/{one[1]}"),
        step.map(lambda one: f"*/{one}"),
        st.just("*"),
    )
    return st.lists(item, min_size=1, max_size=3).map(",".join)


NTH = st.tuples(st.integers(0, 7), st.sampled_from(["#1", "#2", "#3", "#4", "#5", "L"]))
ANY_CRON = st.tuples(
    st.one_of(st.just("0"), values(0, 59)),
    values(0, 59),
    values(0, 23),
    st.one_of(st.just("*"), values(1, 31), values(1, 31).map(lambda days: f"{days},L")),
    st.one_of(st.just("*"), values(1, 12), st.sampled_from(["11-2", "6-3"])),
    st.one_of(
        st.just("*"),
        values(0, 6),
        st.sampled_from(["5-1", "6-7", "7"]),
        st.lists(NTH.map(lambda one: f"{one[0]}{one[1]}"), min_size=1, max_size=3).map(",".join),
    ),
    st.one_of(st.just("*"), values(2025, 2032)),
).map(" ".join)


@given(text=ANY_CRON.filter(lambda text: len(text) <= 128))
def test_any_cron_has_a_sentence_that_promises_what_it_does(text: str):
    cron = parse(text, job_id=UUID(int=1))

    assert promised(cron_in_words(cron)) == meant(cron)
