"""What becomes of a request at Kite: sent once, and its answer told; a GTT in doubt is looked for, never sent again.

Owns the outcome rules (orders.md): a refusal of Kite's is certain, a time-out, a broken link, a 5xx and gibberish
are not. Never decides what to send and keeps no queue (kite_queue.py does). What takes longer than the answer - the
confirmation of a cancellation, the search for a GTT - runs beside, so that the symbol's next request need not wait.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from brokers.kite_books import KiteBooks
from brokers.kite_memory import KiteMemory, Unanswered
from brokers.kite_news import KiteNews
from brokers.kite_options import KiteOptions
from brokers.kite_rest import KiteRest, NoAnswer
from protocol.broker import (
    CancelGtt,
    CancelOrder,
    Event,
    GttUpdate,
    ModifyGtt,
    ModifyOrder,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    Request,
    RequestFailed,
)
from protocol.errors import BrokerUnavailable, RemoteProtocolError
from protocol.kite_errors import STATIC_IP_HINT, KiteFailure
from protocol.kite_gtts import cancel_gtt, modify_gtt, one_gtt, place_gtt, read_gtt, read_gtt_id
from protocol.kite_orders import cancel_order, modify_order, place_order, read_placed
from protocol.orders import GttState, OrderState

MODIFICATIONS_MAX = 25  # per order and day; Kite counts those it accepts (kite-facts 2)
GTT_SEARCH_AT_S = (0.5, 1, 2, 5, 10)  # after an unanswered placement (orders.md, GTTs)
GTT_GONE_AT_S = (0, 0.5, 1, 2, 5)  # after a cancellation, until the list agrees
NOT_FOUND = 404

ACCEPTED = "PUT ORDER REQ RECEIVED"  # Kite's own word for an order it has only taken in
UNREADABLE = "UNREADABLE"


class KiteRequests:
    """One session's. Each call posts what is known; answers of the books come through `news`."""

    def __init__(
        self,
        rest: KiteRest,
        books: KiteBooks,
        memory: KiteMemory,
        news: KiteNews,
        options: KiteOptions,
        post: Callable[[Event], None],
        now_ns: Callable[[], int],
        nursery: trio.Nursery,
    ) -> None:
        self._rest = rest
        self._books = books
        self._memory = memory
        self._news = news
        self._options = options
        self._post = post
        self._now_ns = now_ns
        self._nursery = nursery
        self.beside = 0  # confirmations and searches under way

    async def send(self, request: Request) -> None:
        """Carry one request out. Every failure is told, none is raised."""
        try:
            await self._carry_out(request)
        except KiteFailure as failure:
            self._failed(request, failure.code, self._explained(failure), reached=failure.reached)
        except NoAnswer as failure:
            self._failed(request, failure.code, failure.message, reached=failure.reached)
        except RemoteProtocolError as problem:
            self._failed(request, UNREADABLE, str(problem), reached=True)

    async def _carry_out(self, request: Request) -> None:
        style, change = self._options.style, self._rest.change
        if isinstance(request, PlaceOrder):
            self._accepted(request, read_placed(await change(place_order(request, style))).order_id)
        elif isinstance(request, ModifyOrder):
            await self._modify_order(request)
        elif isinstance(request, CancelOrder):
            await change(cancel_order(request, style))
        elif isinstance(request, PlaceGtt):
            await self._place_gtt(request)
        elif isinstance(request, ModifyGtt):
            await self._modify_gtt(request)
        else:
            await self._cancel_gtt(request)
        if not isinstance(request, CancelGtt):
            self._news.look(gtts=isinstance(request, PlaceGtt | ModifyGtt))

    # --- orders --------------------------------------------------------------------------------------

    def _accepted(self, request: PlaceOrder, order_id: str) -> None:
        """Kite has it, which is all the answer says; the book says what became of it."""
        self._memory.own_order(request.client_id, order_id)
        taken_in = OrderUpdate(
            broker_id=order_id,
            client_id=request.client_id,
            gtt_id=None,
            symbol=request.symbol,
            side=request.side,
            state=OrderState.OPEN,
            quantity=request.quantity,
            filled=0,
            value_paise=0,
            at_ns=self._now_ns(),
            limit_paise=request.limit_paise,
            raw_status=ACCEPTED,
        )
        if order_id not in self._memory.orders:  # a postback may have been faster than the answer
            for news in self._memory.new_orders([taken_in]):
                self._post(news)

    async def _modify_order(self, request: ModifyOrder) -> None:
        if self._memory.modified[request.broker_id] >= MODIFICATIONS_MAX:
            text = (
                f"order {request.broker_id} was modified {MODIFICATIONS_MAX} times, as often as Kite allows: cancel it"
            )
            self._failed(request, "MODIFICATION_CAP", text, reached=False)
            return
        await self._rest.change(modify_order(request, self._options.style))
        self._memory.modified[request.broker_id] += 1

    # --- GTTs ----------------------------------------------------------------------------------------

    async def _place_gtt(self, request: PlaceGtt) -> None:
        lost = Unanswered(request, self._now_ns())
        self._memory.placing[request.symbol] += 1
        try:
            gtt_id = read_gtt_id(await self._rest.change(place_gtt(request, self._options.style)))
        except (KiteFailure, NoAnswer, RemoteProtocolError) as problem:
            if not isinstance(problem, RemoteProtocolError) and not problem.reached:
                raise
            self._memory.unanswered.append(lost)
            self._nursery.start_soon(self._search, lost)
            raise
        except trio.Cancelled:  # the session ends: the next one's readings go on looking
            self._memory.unanswered.append(lost)
            raise
        finally:
            self._memory.placing[request.symbol] -= 1
        self._memory.own_gtt(request.client_id, gtt_id)
        self._stands(gtt_id, request)

    async def _search(self, lost: Unanswered) -> None:
        """Read the list until it shows the GTT; after 10 s it was not placed, and an extra if it turns up later."""
        memory = self._memory
        self.beside += 1
        try:
            waited_s = 0.0
            unread = True
            for at_s in GTT_SEARCH_AT_S:
                await trio.sleep(at_s - waited_s)
                waited_s = at_s
                try:
                    gtts = await self._books.gtts()
                    unread = False
                except (BrokerUnavailable, KiteFailure, RemoteProtocolError):
                    unread = True
                    continue
                if lost not in memory.unanswered:
                    for news in memory.new_gtts(memory.ours(gtts)):
                        self._post(news)
                    return
            if unread:
                return  # the list could not be read: the router's readings go on looking
            memory.unanswered.remove(lost)
            memory.given_up.append(lost)
            text = f"Kite's list does not show it {GTT_SEARCH_AT_S[-1]} s after it was sent"
            self._failed(lost.request, "NOT_PLACED", text, reached=False)
        finally:
            self.beside -= 1

    async def _modify_gtt(self, request: ModifyGtt) -> None:
        told = self._memory.gtts.get(request.gtt_id)
        symbol = told.symbol if told is not None else (await self._read_gtt(request.gtt_id)).symbol
        await self._rest.change(modify_gtt(request, symbol, self._options.style))
        if told is not None:
            self._stands(request.gtt_id, request)

    async def _cancel_gtt(self, request: CancelGtt) -> None:
        """Only what was read after the request is told as cancelled."""
        try:
            await self._rest.change(cancel_gtt(request))
        except (KiteFailure, NoAnswer) as problem:
            if not problem.reached:
                if request.gtt_id in self._memory.gtts:
                    self._news.look(gtts=True)  # it may have fired: the router must hear that it cannot be cancelled
                raise
        self._nursery.start_soon(self._confirm_gone, request)

    async def _confirm_gone(self, request: CancelGtt) -> None:
        self.beside += 1
        try:
            waited_s, text = 0.0, "still active"
            for at_s in GTT_GONE_AT_S:
                await trio.sleep(at_s - waited_s)
                waited_s = at_s
                try:
                    read = await self._read_gtt(request.gtt_id)
                except (BrokerUnavailable, KiteFailure, RemoteProtocolError) as problem:
                    text = str(problem)
                    continue
                if read.state is not GttState.ACTIVE:
                    for news in self._memory.new_gtts([read]):
                        self._post(news)
                    self._news.look(gtts=read.state is GttState.TRIGGERED)
                    return
            self._failed(request, "NOT_CONFIRMED", f"GTT {request.gtt_id} after its cancellation: {text}", reached=True)
        finally:
            self.beside -= 1

    async def _read_gtt(self, gtt_id: str) -> GttUpdate:
        """One GTT by its id; one that Kite does not know any more was cancelled, if we knew it."""
        memory = self._memory
        try:
            (read,) = memory.ours([read_gtt(await self._rest.read(one_gtt(gtt_id)))])
        except KiteFailure as failure:
            told = memory.gtts.get(gtt_id)
            if failure.http_status != NOT_FOUND or told is None:
                raise
            return attrs.evolve(told, state=GttState.CANCELLED, at_ns=self._now_ns(), message="deleted")
        except ValueError:
            raise RemoteProtocolError(f"GTT {gtt_id} is a buy: it is not ours") from None
        return read

    def _stands(self, gtt_id: str, request: PlaceGtt | ModifyGtt) -> None:
        """Kite took it as it was sent; the list is read soon and says the rest."""
        told = self._memory.gtts.get(gtt_id)
        if told is not None and told.state is not GttState.ACTIVE:
            return
        symbol = request.symbol if isinstance(request, PlaceGtt) else told.symbol if told is not None else ""
        stands = GttUpdate(
            gtt_id=gtt_id,
            client_id=self._memory.gtt_clients.get(gtt_id),
            symbol=symbol,
            state=GttState.ACTIVE,
            quantity=request.quantity,
            stop=request.stop,
            target=request.target,
            at_ns=self._now_ns(),
        )
        for news in self._memory.new_gtts([stands]):
            self._post(news)

    # --- failures ------------------------------------------------------------------------------------

    def _failed(self, request: Request, code: str, message: str, *, reached: bool) -> None:
        failed = RequestFailed(request=request, reached=reached, code=code, message=message, at_ns=self._now_ns())
        self._post(failed)
        if reached:
            self._memory.doubt(request)
            self._news.look(gtts=isinstance(request, PlaceGtt | ModifyGtt | CancelGtt))

    def _explained(self, failure: KiteFailure) -> str:
        """Kite's words; where it refused the sender's address, also which address is registered."""
        if STATIC_IP_HINT in failure.message and self._options.static_ip:
            return f"{failure.message}; configured is {self._options.static_ip}"
        return failure.message
