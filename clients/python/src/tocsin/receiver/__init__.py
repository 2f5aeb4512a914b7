"""Helps programs that Tocsin calls: to know that it was Tocsin, and to do each run once.

    receiver = Receiver(os.environ["TOCSIN_SIGNING_SECRET"], store=MemoryStore())

`tocsin.receiver.litestar`, `.fastapi`, `.django` and `.flask` make a handler of a function that
takes a `Delivery`. Other frameworks call `answer` or `answer_awaited` with what they received.
"""

from tocsin.receiver.answers import Answer, answer, answer_awaited
from tocsin.receiver.signatures import Delivery, Receiver, Rejected
from tocsin.receiver.stores import AsyncStore, MemoryStore, Standing, Store

__all__ = [
    "Answer",
    "AsyncStore",
    "Delivery",
    "MemoryStore",
    "Receiver",
    "Rejected",
    "Standing",
    "Store",
    "answer",
    "answer_awaited",
]
