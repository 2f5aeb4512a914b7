"""The calls of a client by what they are about: `tocsin.jobs.get(…)`.

Each is written once and serves both clients. On a `Tocsin` it does the request and returns the
answer, on an `AsyncTocsin` it returns a coroutine for that; the types say so as well.
"""

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from tocsin import operations
from tocsin.calls import Call, Listing, cursor_after, items_of
from tocsin.schedule import schedule

if TYPE_CHECKING:
    from tocsin.clients import AsyncTocsin, Tocsin

P = ParamSpec("P")
AnswerT = TypeVar("AnswerT")
ItemT = TypeVar("ItemT")
ClientT = TypeVar("ClientT")
CallT = TypeVar("CallT")


class Namespace(Generic[ClientT]):
    """Calls that are about one thing."""

    def __init__(self, client: ClientT) -> None:
        self.client = client

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.client!r}>"


def asked(
    function: Callable[P, CallT],
    name: str,
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> CallT:
    """Make what is to be sent; wrong arguments are those of the call as people name it.

    Raises:
        TypeError: an argument is missing or unknown.
    """
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        raise TypeError(str(error).replace(f"{function.__name__}()", f"{name}()")) from None


class Does(Generic[P, AnswerT]):
    """A call that has one answer."""

    def __init__(self, function: Callable[P, Call[AnswerT]]) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(
        self, instance: "Namespace[Tocsin]", owner: type | None = None
    ) -> Callable[P, AnswerT]: ...

    @overload
    def __get__(
        self, instance: "Namespace[AsyncTocsin]", owner: type | None = None
    ) -> Callable[P, Coroutine[Any, Any, AnswerT]]: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> "Does[P, AnswerT]": ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        client, function, name = instance.client, self.function, self.name

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - of either client
            return client.send(asked(function, name, *args, **kwargs))

        return call


class Lists(Generic[P, AnswerT, ItemT]):
    """A call that has a list as its answer."""

    def __init__(self, function: Callable[P, Listing[AnswerT, ItemT]]) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(
        self, instance: "Namespace[Tocsin]", owner: type | None = None
    ) -> Callable[P, "Items[AnswerT, ItemT]"]: ...

    @overload
    def __get__(
        self, instance: "Namespace[AsyncTocsin]", owner: type | None = None
    ) -> Callable[P, "AsyncItems[AnswerT, ItemT]"]: ...

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> "Lists[P, AnswerT, ItemT]": ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        client, function, name = instance.client, self.function, self.name

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - of either client
            return client.items(asked(function, name, *args, **kwargs))

        return call


class Items(Iterable[ItemT], Generic[AnswerT, ItemT]):
    """A list, whose pages are asked for as one iterates; each iteration begins anew."""

    def __init__(self, client: "Tocsin", listing: Listing[AnswerT, ItemT]) -> None:
        self.client = client
        self.listing = listing

    def __repr__(self) -> str:
        return f"<Items of {self.listing.path}>"

    def __iter__(self) -> Iterator[ItemT]:
        for page in self.pages():
            yield from items_of(page)

    def page(self, cursor: str | None = None) -> AnswerT:
        """Return one page: the first one, or that at the `next_cursor` of another."""
        return self.client.send(self.listing.after(cursor))

    def pages(self) -> Iterator[AnswerT]:
        """Yield the pages as they were answered."""
        cursor: str | None = None
        while True:
            page = self.page(cursor)
            yield page
            cursor = cursor_after(page)
            if cursor is None:
                return


class AsyncItems(AsyncIterable[ItemT], Generic[AnswerT, ItemT]):
    """As `Items`, for `async for`."""

    def __init__(self, client: "AsyncTocsin", listing: Listing[AnswerT, ItemT]) -> None:
        self.client = client
        self.listing = listing

    def __repr__(self) -> str:
        return f"<AsyncItems of {self.listing.path}>"

    async def __aiter__(self) -> AsyncIterator[ItemT]:
        async for page in self.pages():
            for item in items_of(page):
                yield item

    async def page(self, cursor: str | None = None) -> AnswerT:
        """Return one page: the first one, or that at the `next_cursor` of another."""
        return await self.client.send(self.listing.after(cursor))

    async def pages(self) -> AsyncIterator[AnswerT]:
        """Yield the pages as they were answered."""
        cursor: str | None = None
        while True:
            page = await self.page(cursor)
            yield page
            cursor = cursor_after(page)
            if cursor is None:
                return


class Jobs(Namespace[ClientT]):
    """Jobs, one by one and many together."""

    create = Does(operations.create_job)
    batch = Does(operations.create_jobs)
    get = Does(operations.get_job)
    list = Lists(operations.list_jobs)
    put = Does(operations.put_job)
    update = Does(operations.patch_job)
    delete = Does(operations.delete_job)
    pause = Does(operations.pause_job)
    resume = Does(operations.resume_job)
    run = Does(operations.run_job)
    skip = Does(operations.skip_runs)
    unskip = Does(operations.unskip_runs)
    test = Does(operations.test_job)
    test_target = Does(operations.test_target)
    explain = Does(operations.explain_job)
    executions = Lists(operations.list_executions_of_job)


class Executions(Namespace[ClientT]):
    """What was carried out, or missed."""

    list = Lists(operations.list_executions)
    get = Does(operations.get_execution)
    replay = Does(operations.replay_execution)
    cancel = Does(operations.cancel_execution)


class BulkActions(Namespace[ClientT]):
    """Actions on all that a filter finds."""

    ask = Does(operations.ask_bulk)
    preview = Does(operations.preview_ask_bulk)
    get = Does(operations.get_bulk)
    list = Lists(operations.list_bulk)
    cancel = Does(operations.cancel_bulk)


class Sets(Namespace[ClientT]):
    """Sets of jobs that a file declares."""

    plan = Does(operations.plan_jobs)
    apply = Does(operations.apply_jobs)
    get = Does(operations.get_set)
    list = Lists(operations.list_sets)
    delete = Does(operations.delete_set)


class Pauses(Namespace[ClientT]):
    """Pauses of tags, and of everything."""

    begin = Does(operations.pause)
    preview = Does(operations.preview_pause)
    list = Lists(operations.list_pauses)
    end = Does(operations.end_pause)


class MaintenanceWindows(Namespace[ClientT]):
    """Windows in which runs are missed or wait, and nothing is told."""

    begin = Does(operations.begin_maintenance)
    list = Lists(operations.list_maintenance)
    end = Does(operations.end_maintenance)


class Checks(Namespace[ClientT]):
    """What is expected to call us."""

    get = Does(operations.get_check)
    make_token = Does(operations.make_check_token)
    revoke_token = Does(operations.revoke_check_token)


class Flows(Namespace[ClientT]):
    """Limits that jobs share."""

    put = Does(operations.put_flow)
    get = Does(operations.get_flow)
    list = Lists(operations.list_flows)
    delete = Does(operations.delete_flow)
    pause = Does(operations.pause_flow)
    resume = Does(operations.resume_flow)
    release = Does(operations.release_flow)


class Calendars(Namespace[ClientT]):
    """Named sets of time."""

    put = Does(operations.put_calendar)
    get = Does(operations.get_calendar)
    list = Lists(operations.list_calendars)
    delete = Does(operations.delete_calendar)


class AlertRules(Namespace[ClientT]):
    """What is told."""

    put = Does(operations.put_alert_rule)
    get = Does(operations.get_alert_rule)
    list = Lists(operations.list_alert_rules)
    delete = Does(operations.delete_alert_rule)


class AlertChannels(Namespace[ClientT]):
    """Who is told."""

    put = Does(operations.put_alert_channel)
    get = Does(operations.get_alert_channel)
    list = Lists(operations.list_alert_channels)
    delete = Does(operations.delete_alert_channel)
    test = Does(operations.test_alert_channel)


class Alerts(Namespace[ClientT]):
    """What was told."""

    get = Does(operations.get_alert)
    list = Lists(operations.list_alerts)


class Secrets(Namespace[ClientT]):
    """Named secrets, whose values no answer has."""

    put = Does(operations.put_secret)
    list = Lists(operations.list_secrets)
    delete = Does(operations.delete_secret)


class Keys(Namespace[ClientT]):
    """API keys."""

    create = Does(operations.create_key)
    get = Does(operations.get_key)
    list = Lists(operations.list_keys)
    revoke = Does(operations.revoke_key)


class Calls(Namespace[ClientT]):
    """What a client does itself; all else is in its namespaces."""

    schedule = Does(schedule)
    preview = Does(operations.preview_schedule)
    upcoming = Lists(operations.list_upcoming)
    instances = Lists(operations.list_instances)
    stats = Does(operations.get_stats)
    changes = Lists(operations.list_changes)
    whoami = Does(operations.get_session)
    live = Does(operations.get_liveness)
    ready = Does(operations.get_readiness)

    def __init__(self, client: ClientT) -> None:
        super().__init__(client)
        self.jobs: Jobs[ClientT] = Jobs(client)
        self.executions: Executions[ClientT] = Executions(client)
        self.bulk: BulkActions[ClientT] = BulkActions(client)
        self.sets: Sets[ClientT] = Sets(client)
        self.pauses: Pauses[ClientT] = Pauses(client)
        self.maintenance: MaintenanceWindows[ClientT] = MaintenanceWindows(client)
        self.checks: Checks[ClientT] = Checks(client)
        self.flows: Flows[ClientT] = Flows(client)
        self.calendars: Calendars[ClientT] = Calendars(client)
        self.alerts: Alerts[ClientT] = Alerts(client)
        self.alert_rules: AlertRules[ClientT] = AlertRules(client)
        self.alert_channels: AlertChannels[ClientT] = AlertChannels(client)
        self.secrets: Secrets[ClientT] = Secrets(client)
        self.keys: Keys[ClientT] = Keys(client)
